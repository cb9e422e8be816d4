"""Parse elements of tag, length and value: BER (X.690 §8), and DER (§10), which has one encoding for each value.

OpenSSL accepts BER where RFC 5280 requires DER. Certificates and keys are therefore parsed as BER. A stricter parser
would reject data that the TLS library accepts, and could treat an encrypted key as unencrypted. This does not weaken
security: an element has the same tag and content in every encoding, and pins and fingerprints are computed from the
bytes that were sent.

`strict` requires DER. It is used for the signature algorithm, which determines the hash of the channel binding. OpenSSL
encodes that part of a certificate again before it sends it, and the C helper requires DER too.

Every length is checked against the length of the enclosing element. Nesting is limited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


#: The bit of a tag that is set if the content consists of elements.
CONSTRUCTED = 0x20
_MULTI_BYTE_TAG, _INDEFINITE = 0x1F, 0x80
_END_OF_CONTENTS = b"\0\0"
_MAX_DEPTH = 16  # OpenSSL allows 30 levels in an element and 5 in a string


class DerError(ValueError):
    """The data does not consist of elements, or does not consist of the expected elements."""


class Element(NamedTuple):
    """One element: its tag, its content, and its complete encoding.

    The tag is the byte that DER would have. Tag number 31 represents every number above 30.
    """

    tag: int
    content: bytes
    encoded: bytes

    @property
    def is_der(self) -> bool:
        """True if the tag is one byte and the length has its shortest form (X.690 §10.1)."""
        size = len(self.content)
        digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
        header = bytes([self.tag, size]) if size < _INDEFINITE else bytes([self.tag, 0x80 | len(digits)]) + digits
        return self.encoded == header + self.content


def elements(data: bytes, *, strict: bool = False) -> Iterator[Element]:
    """Yield the elements of `data`.

    Args:
        data: The content of an element, or a file.
        strict: Require DER for these elements. Their contents are not checked.

    Raises:
        DerError: `data` does not consist of complete elements.
    """
    position = 0
    while position < len(data):
        element, position = _element(data, position, 0)
        if strict and not element.is_der:
            raise DerError("multi-byte tag, or length not in its shortest form")
        yield element


def only_element(data: bytes, *, strict: bool = False) -> Element:
    """Return the only element of `data`.

    Raises:
        DerError: `data` is not exactly one element.
    """
    found = list(elements(data, strict=strict))
    if len(found) != 1:
        raise DerError(f"{len(found)} elements instead of one")
    return found[0]


def first_element(data: bytes) -> Element:
    """Return the first element of `data`. OpenSSL ignores data after the value of an extension.

    Raises:
        DerError: `data` does not begin with a complete element.
    """
    return _element(data, 0, 0)[0]


def string(element: Element) -> bytes:
    """Return the content of a string. A constructed string is the concatenation of its parts (X.690 §8.7.3).

    Raises:
        DerError: The parts are not elements, or they are nested too deeply.
    """
    return b"".join(_parts(element, 0))


def _parts(element: Element, depth: int) -> Iterator[bytes]:
    if not element.tag & CONSTRUCTED:
        yield element.content
    elif depth == _MAX_DEPTH:
        raise DerError("string nested too deeply")
    else:
        for part in elements(element.content):
            yield from _parts(part, depth + 1)


def _element(data: bytes, start: int, depth: int) -> tuple[Element, int]:
    """Return the element that begins at `start`, and the position of its end."""
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
        raise DerError("element longer than the enclosing one")
    return Element(tag, data[position:end], data[start:end]), end


def _tag(data: bytes, start: int) -> tuple[int, int]:
    """Return the tag of the element that begins at `start`, and the position of its length.

    OpenSSL accepts a number below 31 in several bytes, which X.690 §8.1.2.4 forbids. The tag returned is then the
    one-byte tag. Otherwise this parser would not find a dNSName that OpenSSL finds and applies name constraints to.
    """
    if start >= len(data) or data[start] & _MULTI_BYTE_TAG != _MULTI_BYTE_TAG:
        return data[start] if start < len(data) else 0, start + 1
    position, number = start + 1, 0
    while position < len(data):
        byte = data[position]
        number = min(number << 7 | byte & 0x7F, _MULTI_BYTE_TAG)  # one value for all larger numbers
        position += 1
        if not byte & 0x80:
            break
    return data[start] & ~_MULTI_BYTE_TAG | number, position


def _indefinite(data: bytes, start: int, tag: int, content: int, depth: int) -> tuple[Element, int]:
    """Return an element of indefinite length, which ends at its end-of-contents octets (X.690 §8.1.3.6)."""
    if not tag & CONSTRUCTED or depth == _MAX_DEPTH:
        raise DerError("element of indefinite length that is primitive or nested too deeply")
    position = content
    while data[position : position + 2] != _END_OF_CONTENTS:
        _, position = _element(data, position, depth + 1)
    return Element(tag, data[content:position], data[start : position + 2]), position + 2
