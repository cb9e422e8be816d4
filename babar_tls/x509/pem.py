"""Parse and write PEM (RFC 7468).

A file is parsed as OpenSSL parses it, or rejected. OpenSSL ignores every line that is not exactly the beginning of a
block. It then ignores the whole block, which may be the revocation list that revokes the server's certificate. A line
that resembles the beginning or the end of a block is therefore an error here. Comments (lines that begin with ``#``)
and other text are allowed outside of blocks.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, NamedTuple

from .der import DerError, elements

if TYPE_CHECKING:
    from collections.abc import Iterator


_BOM = b"\xef\xbb\xbf"  # of UTF-8; OpenSSL ignores it at the start of a file and after each block
_BLANKS = bytes(range(1, 33))  # OpenSSL removes these at the end of a line
_BEGIN = re.compile(rb"-----BEGIN ([^\r]*)-----")
_GAP = rb"[^A-Za-z0-9\n]"
#: Labels that can be read. Any separator matches, so that labels that are almost correct also match.
_KIND = rb"(?:(?:X509|TRUSTED)_+)?CERTIFICATE|X509_+CRL|(?:[A-Z]+_+)?PRIVATE_+KEY".replace(b"_", _GAP)
_KNOWN = re.compile(rb"(?:(?:X509|TRUSTED) )?CERTIFICATE|X509 CRL|(?:[A-Z]+ )?PRIVATE KEY")
_NEARLY_KNOWN = re.compile(rb"%b*(?:%b)%b*" % (_GAP, _KIND, _GAP), re.IGNORECASE)
#: Labels of certificates or lists in a form that cannot be read. If they were ignored, their contents would be missing.
_UNREAD = re.compile(rb"X509|CERT|CRL|REVOCATION|PKCS.*7|CMS", re.IGNORECASE | re.DOTALL)
_PASSED_OVER = re.compile(rb".*REQUEST|ATTRIBUTE CERTIFICATE")
#: A line that is almost the beginning or the end of a block: dashes missing, wrong case, indented or quoted.
_NEARLY_A_MARK = re.compile(
    rb"^%b*(?:BEGIN|END)%b+(?:%b)%b*$" % (_GAP, _GAP, _KIND, _GAP), re.IGNORECASE | re.MULTILINE
)
_WORD_AFTER_DASHES = re.compile(rb"[ \t]*-----\w")
#: OpenSSL reads lines in pieces of this many bytes, and each piece may begin a block.
_OPENSSL_LINE = 254


class PemError(ValueError):
    """A PEM file that cannot be parsed completely.

    Attributes:
        line: The number of the line at fault, from 1.
    """

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"damaged PEM, line {line}: {why}")
        self.line = line


class Block(NamedTuple):
    """One block.

    Attributes:
        label: Its label.
        body: The lines between the first and the last, including the headers of traditional encryption.
        line: The number of its first line, from 1.
    """

    label: str
    body: bytes
    line: int

    @property
    def pem(self) -> bytes:
        """The whole block."""
        label = self.label.encode("latin-1")
        return b"-----BEGIN " + label + b"-----\n" + self.body + b"-----END " + label + b"-----\n"

    def der(self) -> bytes:
        """Return the decoded body: one DER element. In a TRUSTED CERTIFICATE the trust settings may follow it.

        Raises:
            PemError: The block is damaged.
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
    """Return the blocks with these labels, in order.

    The whole file is parsed first, so that an error after the last block is found too.

    Raises:
        PemError: A block is incomplete, or a line resembles the beginning or the end of a block.
    """
    found = list(_read(data))
    if found and b"\0" in data:
        raise PemError(_line_at(data, data.index(b"\0")), "NUL byte: part of the file is DER or UTF-16")
    return iter([block for block in found if block.label in labels])


def encode(label: str, der: bytes) -> bytes:
    """Return one block of PEM."""
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([f"-----BEGIN {label}-----".encode(), *lines, f"-----END {label}-----".encode(), b""])


def _read(data: bytes) -> Iterator[Block]:
    opened: tuple[bytes, int, int] | None = None  # the label, the start of the body, and the line number
    outside = 0  # end of the last block
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
    """Yield the start, end and number of each line with five dashes. The running time is linear."""
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
    """Reject a line outside of blocks that resembles the beginning or the end of a block."""
    if line.startswith(b"-----END "):
        raise PemError(number, "the end of a block has no beginning")
    if b"-----BEGIN " in line or b"-----END " in line or _WORD_AFTER_DASHES.match(line):
        if b"\r" in line:
            raise PemError(number, "lines end in CR only: convert the file to LF")
        raise PemError(number, "the beginning or the end of a block must fill its line exactly")


def _check_between(data: bytes, start: int, end: int) -> None:
    """Reject lines outside of blocks that are almost the beginning or the end of a block."""
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
        return f"{_end_line(label)} is followed by other text. Files were joined without a line feed"
    return f"the block that begins in line {first} is cut off: {_end_line(label)} is missing"


def _end_line(label: bytes) -> str:
    return f"-----END {label[:40].decode('latin-1')}-----"


def _line_at(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1
