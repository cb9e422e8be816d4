"""The three things the protocol reads from a certificate: how it was signed, its public key, and whom it names.

X.509 verification is the TLS library's part. What is here serves the end-point hash, which depends on the signature
algorithm, pins of the public key, the comparison of names, and error messages, which name what a rejected certificate
is for. The outline of a certificate is DER, because servers encode it again before they send it. What is signed is sent
as the CA has encoded it, and is read by the rules of BER, as OpenSSL reads it (`ber`).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from .ber import BerError, Element, elements, first_element, string

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEQUENCE, _OID, _BIT_STRING = 0x30, 0x06, 0x03
_CONTEXT_0, _CONTEXT_3 = 0xA0, 0xA3
_SAN_DNS, _SAN_IP, _CONSTRUCTED = 0x82, 0x87, 0x20
_COMMON_NAME, _SUBJECT_ALT_NAME = b"\x55\x04\x03", b"\x55\x1d\x11"  # contents of 2.5.4.3 and 2.5.29.17
_MAX_CERTIFICATE = 1 << 24


class DerError(ValueError):
    """Not the DER of a certificate."""


class SignatureAlgorithm(NamedTuple):
    """The certificate's outer signatureAlgorithm (RFC 5280 §4.1.1.2): OID, and its parameters as DER if it has any."""

    oid: str
    parameters: bytes | None


class CertificateNames(NamedTuple):
    """Whom a certificate is for."""

    common_name: str | None
    alternative_names: tuple[str, ...]

    @property
    def first(self) -> str | None:
        """The name to show in a message: the first alternative name, else the common name."""
        return self.alternative_names[0] if self.alternative_names else self.common_name


class AlternativeName(NamedTuple):
    """One dNSName, or the octets of one iPAddress (RFC 5280 §4.2.1.6)."""

    is_address: bool
    content: bytes


class SubjectNames(NamedTuple):
    """Every common name of the subject and every dNSName and iPAddress, in order, as they stand in the certificate."""

    common_names: tuple[bytes, ...]
    alternative_names: tuple[AlternativeName, ...]


def signature_algorithm(der: bytes) -> SignatureAlgorithm:
    """Read the outer signatureAlgorithm.

    Raises:
        DerError: `der` is not a certificate.
    """
    _tbs, algorithm, _signature = _certificate(der)
    return algorithm_identifier(algorithm.content)


def algorithm_identifier(content: bytes) -> SignatureAlgorithm:
    """Read the inside of an AlgorithmIdentifier (RFC 5280 §4.1.1.2).

    Raises:
        DerError: It is none.
    """
    oid, *rest = children(content)
    if oid.tag != _OID or len(rest) > 1:
        raise DerError("malformed AlgorithmIdentifier")
    return SignatureAlgorithm(_oid(oid.content), content[_element(content)[1] :] or None)


def public_key_info(der: bytes) -> bytes:
    """Read the SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), DER: what a pin of the public key hashes (RFC 7469 §2.4).

    Raises:
        DerError: `der` is not a certificate.
    """
    info = _fields(der)[5]
    try:
        tags = [element.tag for element in elements(info.content)]
    except BerError as exc:
        raise DerError("malformed SubjectPublicKeyInfo") from exc
    if info.tag != _SEQUENCE or tags != [_SEQUENCE, _BIT_STRING]:
        raise DerError("malformed SubjectPublicKeyInfo")
    return info.encoded


def subject_names(der: bytes) -> SubjectNames:
    """Read the names to compare a host with, undecoded.

    Raises:
        DerError: `der` is not a certificate.
    """
    fields = _fields(der)
    extensions = next((field for field in fields[6:] if field.tag == _CONTEXT_3), None)
    try:
        alternative = tuple(_alternative_names(extensions.content)) if extensions else ()
        return SubjectNames(tuple(_common_names(fields[4].content)), alternative)
    except BerError as exc:
        raise DerError(f"malformed names: {exc}") from exc


def certificate_names(der: bytes) -> CertificateNames:
    """Read the subject's common name (the first) and the alternative names (dNSName and iPAddress), for people.

    Raises:
        DerError: `der` is not a certificate.
    """
    names = subject_names(der)
    common_name = names.common_names[0].decode("utf-8", "replace") if names.common_names else None
    return CertificateNames(common_name, tuple(_texts(names)))


def _texts(names: SubjectNames) -> Iterator[str]:
    for name in names.alternative_names:
        if not name.is_address:
            yield name.content.decode("ascii", "replace")
        elif len(name.content) in (4, 16):
            yield str(ipaddress.ip_address(name.content))


def children(content: bytes) -> Iterator[Element]:
    """The elements that `content` is made of, none missing and nothing left over.

    Raises:
        DerError: It is not made of elements.
    """
    if not content:
        raise DerError("empty where elements are expected")
    position = 0
    while position < len(content):
        element, position = _element(content, position)
        yield element


def only_child(content: bytes) -> Element:
    """The one element that `content` is made of.

    Raises:
        DerError: It is not made of exactly one.
    """
    element, end = _element(content)
    if end != len(content):
        raise DerError("more than one element where one is expected")
    return element


def _certificate(der: bytes) -> tuple[Element, Element, Element]:
    if len(der) > _MAX_CERTIFICATE:
        raise DerError("larger than any certificate")
    certificate = only_child(der)
    if certificate.tag != _SEQUENCE:
        raise DerError("not a SEQUENCE")
    parts = tuple(children(certificate.content))
    if len(parts) != 3 or parts[0].tag != _SEQUENCE or parts[1].tag != _SEQUENCE:
        raise DerError("not a Certificate")
    return parts


def _fields(der: bytes) -> list[Element]:
    """The TBSCertificate's, without the version: five up to the subject, the public key, and what may follow."""
    tbs, _algorithm, _signature = _certificate(der)
    try:
        fields = list(elements(tbs.content))
    except BerError as exc:
        raise DerError(f"malformed TBSCertificate: {exc}") from exc
    if fields and fields[0].tag == _CONTEXT_0:  # version, absent in version 1
        del fields[0]
    if len(fields) < 6:  # serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
        raise DerError("malformed TBSCertificate")
    return fields


def _element(data: bytes, position: int = 0) -> tuple[Element, int]:
    """The element that begins at `position`, and where it ends."""
    start = position + 2
    if len(data) < start or data[position] & 0x1F == 0x1F:
        raise DerError("truncated element or multi-byte tag")
    length = data[position + 1]
    if length >= 0x80:
        count = length & 0x7F
        digits = data[start : start + count]
        if not 1 <= count <= 4 or len(digits) < count:
            raise DerError("indefinite, oversized or truncated length")
        length = int.from_bytes(digits, "big")
        if length < 0x80 or digits[0] == 0:
            raise DerError("length not in its shortest form")
        start += count
    end = start + length
    if end > len(data):
        raise DerError("element longer than what encloses it")
    return Element(data[position], data[start:end], data[position:end]), end


def _oid(content: bytes) -> str:
    """X.690 §8.19."""
    if not content or content[-1] & 0x80 or len(content) > 64:
        raise DerError("malformed object identifier")
    arcs: list[int] = []
    value = 0
    for byte in content:
        if not value and byte == 0x80:
            raise DerError("object identifier not in its shortest form")
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))


def _common_names(subject: bytes) -> Iterator[bytes]:
    for rdn in elements(subject):
        for attribute in elements(rdn.content):
            oid, value = _pair(attribute)
            if oid.content == _COMMON_NAME:
                yield string(value)


def _pair(attribute: Element) -> tuple[Element, Element]:
    parts = tuple(elements(attribute.content))
    if len(parts) != 2:
        raise DerError("malformed attribute")
    return parts


def _alternative_names(extensions: bytes) -> Iterator[AlternativeName]:
    found = [value for oid, value in _extensions(extensions) if oid == _SUBJECT_ALT_NAME]
    if len(found) > 1:  # RFC 5280 §4.2; OpenSSL considers such a certificate invalid
        raise DerError("two subjectAltName extensions")
    for value in found:
        for name in elements(first_element(string(value)).content):
            if name.tag & ~_CONSTRUCTED in (_SAN_DNS, _SAN_IP):
                yield AlternativeName(name.tag & ~_CONSTRUCTED == _SAN_IP, string(name))


def _extensions(data: bytes) -> Iterator[tuple[bytes, Element]]:
    for extension in elements(first_element(data).content):
        parts = tuple(elements(extension.content))  # identifier, critical if it is not the default, value
        if len(parts) < 2 or parts[0].tag != _OID:
            raise DerError("malformed extension")
        yield parts[0].content, parts[-1]
