"""Read elements of tag, length and value: BER (X.690 §8), and DER (§10), which has one form for every value.

OpenSSL accepts BER where RFC 5280 requires DER. What the TLS library has accepted, or is going to judge, is read by the
rules of BER: certificates and keys must not be rejected because they are read by stricter rules, and an encrypted key
must not be mistaken for one that is not. That costs no security. An element has the same tag and the same content in
every form, tags of several bytes included, and pins and fingerprints are computed from the bytes as they were sent.

`strict` requires DER. It is for the signature algorithm, which determines the hash of the channel binding. OpenSSL
encodes that part of a certificate again before it sends it, and the C helper reads it by the same rules.

Every length is checked against what encloses it, and nesting is limited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


#: The bit of a tag that says that the content consists of elements.
CONSTRUCTED = 0x20
_MULTI_BYTE_TAG, _INDEFINITE = 0x1F, 0x80
_END_OF_CONTENTS = b"\0\0"
_MAX_DEPTH = 16  # OpenSSL allows 30 levels in an element and 5 in a string


class DerError(ValueError):
    """Not made of elements, or not of the elements that were expected."""


class Element(NamedTuple):
    """One element: its tag, its content, and the whole of it.

    The tag is the byte that DER has for it; the number 31 stands for every number above 30.
    """

    tag: int
    content: bytes
    encoded: bytes

    @property
    def is_der(self) -> bool:
        """Return True if its tag is one byte and its length is in the shortest form (X.690 §10.1)."""
        size = len(self.content)
        digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
        header = bytes([self.tag, size]) if size < _INDEFINITE else bytes([self.tag, 0x80 | len(digits)]) + digits
        return self.encoded == header + self.content


def elements(data: bytes, *, strict: bool = False) -> Iterator[Element]:
    """Yield the elements that `data` is made of; empty data is made of none.

    Args:
        data: The content of an element, or a file.
        strict: Require DER of these elements. Their contents are not looked into.

    Raises:
        DerError: `data` is not made of whole elements.
    """
    position = 0
    while position < len(data):
        element, position = _element(data, position, 0)
        if strict and not element.is_der:
            raise DerError("multi-byte tag, or length not in its shortest form")
        yield element


def only_element(data: bytes, *, strict: bool = False) -> Element:
    """Return the one element that `data` is made of.

    Raises:
        DerError: `data` is not exactly one element.
    """
    found = list(elements(data, strict=strict))
    if len(found) != 1:
        raise DerError(f"{len(found)} elements where one is expected")
    return found[0]


def first_element(data: bytes) -> Element:
    """Return the element that `data` begins with; OpenSSL ignores what follows the value of an extension.

    Raises:
        DerError: `data` does not begin with a whole element.
    """
    return _element(data, 0, 0)[0]


def string(element: Element) -> bytes:
    """Return the content of a string; a constructed string is the concatenation of its parts (X.690 §8.7.3).

    Raises:
        DerError: The parts are not elements, or they are nested too deeply.
    """
    return b"".join(_parts(element, 0))


def _parts(element: Element, depth: int) -> Iterator[bytes]:
    if not element.tag & CONSTRUCTED:
        yield element.content
    elif depth == _MAX_DEPTH:
        raise DerError("string of too many levels")
    else:
        for part in elements(element.content):
            yield from _parts(part, depth + 1)


def _element(data: bytes, start: int, depth: int) -> tuple[Element, int]:
    """Return the element that begins at `start`, and where it ends."""
    tag, position = _tag(data, start)
    if position >= len(data):
        raise DerError("truncated element")
    length = data[position]
    position += 1
    if length == _INDEFINITE:
        return _indefinite(data, start, tag, position, depth)
    if length > _INDEFINITE:
        digits = data[position : position + (length & 0x7F)]
        if len(digits) < length & 0x7F:
            raise DerError("truncated length")
        position += len(digits)
        length = int.from_bytes(digits, "big")
    end = position + length
    if end > len(data):
        raise DerError("element longer than what encloses it")
    return Element(tag, data[position:end], data[start:end]), end


def _tag(data: bytes, start: int) -> tuple[int, int]:
    """Return the tag of the element that begins at `start`, and where its length begins.

    A number below 31 may not be written in several bytes (X.690 §8.1.2.4), but OpenSSL accepts that. The tag is then
    the same as in one byte. Otherwise OpenSSL would see a dNSName, and apply name constraints to it, where none is
    seen here.
    """
    if start >= len(data) or data[start] & _MULTI_BYTE_TAG != _MULTI_BYTE_TAG:
        return data[start] if start < len(data) else 0, start + 1
    position, number = start + 1, 0
    while position < len(data):
        byte = data[position]
        number = min(number << 7 | byte & 0x7F, _MULTI_BYTE_TAG)  # larger numbers are not told apart
        position += 1
        if not byte & 0x80:
            break
    return data[start] & ~_MULTI_BYTE_TAG | number, position


def _indefinite(data: bytes, start: int, tag: int, content: int, depth: int) -> tuple[Element, int]:
    """Return an element without a length, which ends where its contents end (X.690 §8.1.3.6)."""
    if not tag & CONSTRUCTED or depth == _MAX_DEPTH:
        raise DerError("element of indefinite length that is primitive, or nested too deeply")
    position = content
    while data[position : position + 2] != _END_OF_CONTENTS:
        _, position = _element(data, position, depth + 1)
    return Element(tag, data[content:position], data[start : position + 2]), position + 2
