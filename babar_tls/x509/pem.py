"""PEM (RFC 7468): the blocks of a file, and blocks made from DER.

A file is read as OpenSSL reads it, or refused. OpenSSL passes over every line that does not begin a block exactly as it
should. The block is then missing: the certificate revocation list that names the server's certificate, the intermediate
certificate. So whatever looks like the beginning or the end of a block, and is not one, is an error here. Comments
(lines that begin with ``#``) and other text are allowed outside of blocks.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, NamedTuple

from .der import DerError, elements

if TYPE_CHECKING:
    from collections.abc import Iterator


_BOM = b"\xef\xbb\xbf"  # of UTF-8; OpenSSL skips one at the start of a file and behind each block
_BLANKS = bytes(range(1, 33))  # what OpenSSL removes at the end of a line
_BEGIN = re.compile(rb"-----BEGIN ([^\r]*)-----")
_GAP = rb"[^A-Za-z0-9\n]"
#: The kinds that are read here. The separators are free, because labels that are nearly right are compared with it too.
_KIND = rb"(?:(?:X509|TRUSTED)_+)?CERTIFICATE|X509_+CRL|(?:[A-Z]+_+)?PRIVATE_+KEY".replace(b"_", _GAP)
_KNOWN = re.compile(rb"(?:(?:X509|TRUSTED) )?CERTIFICATE|X509 CRL|(?:[A-Z]+ )?PRIVATE KEY")
_NEARLY_KNOWN = re.compile(rb"%b*(?:%b)%b*" % (_GAP, _KIND, _GAP), re.IGNORECASE)
#: Blocks of certificates or lists in a form that is not read here: passing over them would lose what is in them.
_UNREAD = re.compile(rb"X509|CERT|CRL|REVOCATION|PKCS.*7|CMS", re.IGNORECASE | re.DOTALL)
_PASSED_OVER = re.compile(rb".*REQUEST|ATTRIBUTE CERTIFICATE")
#: A line that was meant to begin or to end a block: dashes missing, another case, indented, quoted.
_NEARLY_A_MARK = re.compile(
    rb"^%b*(?:BEGIN|END)%b+(?:%b)%b*$" % (_GAP, _GAP, _KIND, _GAP), re.IGNORECASE | re.MULTILINE
)
_WORD_AFTER_DASHES = re.compile(rb"[ \t]*-----\w")
#: OpenSSL reads lines in pieces of this many bytes, and looks for the beginning of a block in each.
_OPENSSL_LINE = 254


class PemError(ValueError):
    """A file that holds PEM and cannot be read whole.

    Attributes:
        line: The line that is at fault, counted from 1.
    """

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"damaged PEM, line {line}: {why}")
        self.line = line


class Block(NamedTuple):
    """One block.

    Attributes:
        label: Its label.
        body: The lines between its first and its last, headers of the traditional encryption included.
        line: The line in which it begins, counted from 1.
    """

    label: str
    body: bytes
    line: int

    @property
    def pem(self) -> bytes:
        """The whole block, without what surrounded it."""
        label = self.label.encode("latin-1")
        return b"-----BEGIN " + label + b"-----\n" + self.body + b"-----END " + label + b"-----\n"

    def der(self) -> bytes:
        """Return the DER in it: one element, or two in a TRUSTED CERTIFICATE (the certificate, its trust settings).

        Raises:
            PemError: It is damaged.
        """
        try:
            der = base64.b64decode(b"".join(self.body.split()), validate=True)
        except binascii.Error as exc:
            raise PemError(self.line, f"the {self.label} is not Base64") from exc
        try:
            count = len(list(elements(der)))
        except DerError:
            count = 0
        if not count:
            raise PemError(self.line, f"the {self.label} is truncated or damaged")
        if count > (2 if self.label == "TRUSTED CERTIFICATE" else 1):
            raise PemError(self.line, f"the {self.label} is followed by other data")
        return der


def blocks(data: bytes, *labels: str) -> Iterator[Block]:
    """Return the blocks of these labels, in order.

    The whole file is read first, so that a fault behind the last block is found too.

    Raises:
        PemError: A block is not complete, or a line looks like the beginning or the end of one and is not.
    """
    found = list(_read(data))
    if found and b"\0" in data:
        raise PemError(_line_at(data, data.index(b"\0")), "a NUL byte: part of the file is DER or UTF-16")
    return iter([block for block in found if block.label in labels])


def encode(label: str, der: bytes) -> bytes:
    """Return one block."""
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([f"-----BEGIN {label}-----".encode(), *lines, f"-----END {label}-----".encode(), b""])


def _read(data: bytes) -> Iterator[Block]:
    opened: tuple[bytes, int, int] | None = None  # label, where the body begins, line
    outside = 0  # where the text between the last block and the next begins
    for start, end, number in _lines_with_dashes(data):
        line = data[start:end].rstrip(_BLANKS)
        if opened is not None:
            label, body, first = opened
            if line == b"-----END " + label + b"-----":
                yield Block(label.decode("latin-1"), data[body:start], first)
                opened, outside = None, end
            else:
                raise PemError(number, _why_not_the_end(line, label, first))
            continue
        while line.startswith(_BOM):
            line = line[len(_BOM) :]
        if line.lstrip(b" \t").startswith(b"#") and end - start < _OPENSSL_LINE:
            continue
        begin = _BEGIN.fullmatch(line)
        if begin is None:
            if line.startswith(b"-----END "):
                _check_between(data, outside, start)
            _check_text(line, number)
            continue
        _check_between(data, outside, start)
        _check_label(begin[1], number)
        opened = begin[1], min(end + 1, len(data)), number
    if opened is not None:
        raise PemError(opened[2], f"the block is cut off: {_end_line(opened[0])} is missing")
    _check_between(data, outside, len(data))


def _lines_with_dashes(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield where each line with five dashes begins and ends, and its number. Every byte is passed once or twice."""
    position, number = 0, 1
    while (at := data.find(b"-----", position)) >= 0:
        start = data.rfind(b"\n", position, at) + 1 or position
        number += data.count(b"\n", position, start)
        end = data.find(b"\n", at)
        if end < 0:
            end = len(data)
        yield start, end, number
        position, number = end + 1, number + 1


def _check_text(line: bytes, number: int) -> None:
    """Refuse a line outside of blocks that has to do with one."""
    if line.startswith(b"-----END "):
        raise PemError(number, "the end of a block that does not begin")
    if b"-----BEGIN " in line or b"-----END " in line or _WORD_AFTER_DASHES.match(line):
        if b"\r" in line:
            raise PemError(number, "lines end in CR only: convert the file to LF")
        raise PemError(number, "the beginning or the end of a block does not fill its line exactly")


def _check_between(data: bytes, start: int, end: int) -> None:
    """Refuse lines outside of blocks that somebody meant as the beginning or the end of one."""
    found = _NEARLY_A_MARK.search(data, start, end)
    while found is not None:
        if not found[0].strip(_BLANKS + _BOM).startswith(b"#"):
            raise PemError(_line_at(data, found.start()), "this is not exactly the beginning or the end of a block")
        found = _NEARLY_A_MARK.search(data, found.end(), end)


def _check_label(label: bytes, number: int) -> None:
    if _KNOWN.fullmatch(label):
        return
    if _NEARLY_KNOWN.fullmatch(label) or (_UNREAD.search(label) and not _PASSED_OVER.fullmatch(label)):
        shown = label[:40].decode("ascii", "backslashreplace")
        raise PemError(number, f"blocks with the label {shown!r} cannot be read")


def _why_not_the_end(line: bytes, label: bytes, first: int) -> str:
    if line.startswith(_end_line(label).encode("latin-1")):
        return f"{_end_line(label)} is followed by other text: files were joined without a line feed between them"
    return f"the block that begins in line {first} is cut off: {_end_line(label)} is missing"


def _end_line(label: bytes) -> str:
    return f"-----END {label[:40].decode('latin-1')}-----"


def _line_at(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1
