"""Parse the fields and extensions of a certificate (RFC 5280 §4.1, §4.2.1).

`names` parses the subject's names, and `signature_algorithm` parses the signature algorithm. Nothing is verified here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from .der import DerError, Element, elements, first_element, only_element, string

_BOOLEAN, _INTEGER, _BIT_STRING, _OID, _UTC_TIME, _SEQUENCE = 0x01, 0x02, 0x03, 0x06, 0x17, 0x30
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_KEY_IDENTIFIER = 0x80  # of an AuthorityKeyIdentifier
_MAX_CERTIFICATE = 1 << 24  # bytes

# Extensions, by the content of their identifiers.
_SUBJECT_KEY, _KEY_USAGE = b"\x55\x1d\x0e", b"\x55\x1d\x0f"
_BASIC_CONSTRAINTS, _NAME_CONSTRAINTS, _AUTHORITY_KEY = b"\x55\x1d\x13", b"\x55\x1d\x1e", b"\x55\x1d\x23"
_EXTENDED_KEY_USAGE = b"\x55\x1d\x25"
_EXTENSIONS_READ = (
    _SUBJECT_KEY,
    _KEY_USAGE,
    _BASIC_CONSTRAINTS,
    _NAME_CONSTRAINTS,
    _AUTHORITY_KEY,
    _EXTENDED_KEY_USAGE,
)
_SERVER_AUTH = bytes.fromhex("2b06010505070301")

_KEY_CERT_SIGN = 0x04  # in a key usage (RFC 5280 §4.2.1.3), where bit 0 is the highest


class Fields(NamedTuple):
    """Fields of a TBSCertificate, not decoded."""

    is_first_version: bool
    issuer: Element
    validity: Element
    subject: Element
    key: Element
    extensions: bytes | None

    def find_extensions(self, *identifiers: bytes) -> dict[bytes, Element]:
        """Return the values of the extensions with these `identifiers` that the certificate has, by identifier.

        Raises:
            DerError: An extension is malformed or occurs twice (RFC 5280 §4.2; OpenSSL rejects such a certificate).
        """
        found: dict[bytes, Element] = {}
        for extension in elements(first_element(self.extensions).content) if self.extensions is not None else ():
            parts = tuple(elements(extension.content))  # identifier, critical (if not the default), value
            if len(parts) < 2 or parts[0].tag != _OID:
                raise DerError("malformed extension")
            identifier = parts[0].content
            if identifier in found:
                raise DerError("an extension occurs twice")
            if identifier in identifiers:
                found[identifier] = first_element(string(parts[-1]))
        return found


@dataclass(frozen=True)
class Certificate:
    """One certificate.

    Attributes:
        der: The whole certificate.
        issuer: The issuer's name, DER.
        subject: The subject's name, DER.
        not_before: Seconds since 1970.
        not_after: Seconds since 1970.
        key_id: The subjectKeyIdentifier, `None` if the certificate has none.
        authority_key_id: The identifier of the issuer's key, `None` if the certificate has none.
        is_authority: True for ``CA:TRUE``, `None` without basic constraints.
        key_usage: The bits of the key usage, `None` if every use is allowed.
        serves: True if there is no extended key usage, or if it allows TLS servers.
        has_name_constraints: True if there is a nameConstraints extension.
        is_first_version: True for X.509 version 1, which has no extensions.
    """

    der: bytes
    issuer: bytes
    subject: bytes
    not_before: float
    not_after: float
    key_id: bytes | None = None
    authority_key_id: bytes | None = None
    is_authority: bool | None = None
    key_usage: int | None = None
    serves: bool = True
    has_name_constraints: bool = False
    is_first_version: bool = False

    def is_current(self, now: float) -> bool:
        """Return True if the certificate is valid at this time."""
        return self.not_before <= now <= self.not_after

    @property
    def is_self_signed(self) -> bool:
        """True if the certificate names itself as its issuer. Its signature is not verified."""
        return self.subject == self.issuer and self.may_be_issued_by(self)

    @property
    def may_sign(self) -> bool:
        """True for a CA certificate. As in OpenSSL, a self-signed certificate of X.509 version 1 is one."""
        if self.key_usage is not None and not self.key_usage & _KEY_CERT_SIGN:
            return False
        if self.is_authority is None:
            return self.key_usage is not None or (self.is_first_version and self.is_self_signed)
        return self.is_authority

    def may_be_issued_by(self, other: Certificate) -> bool:
        """Return True if the name and the key identifier of `other` are those of the issuer."""
        known = self.authority_key_id is not None and other.key_id is not None
        return self.issuer == other.subject and (not known or self.authority_key_id == other.key_id)


def split_certificate(der: bytes, *, strict: bool = False) -> tuple[Element, Element, Element]:
    """Return the three parts of a certificate: TBSCertificate, signature algorithm, signature.

    Args:
        der: The certificate.
        strict: Require DER for the certificate and its parts.

    Raises:
        DerError: `der` is not a certificate.
    """
    if len(der) > _MAX_CERTIFICATE:
        raise DerError(f"more than {_MAX_CERTIFICATE} bytes")
    certificate = only_element(der, strict=strict)
    parts = tuple(elements(certificate.content, strict=strict))
    if certificate.tag != _SEQUENCE or [part.tag for part in parts[:2]] != [_SEQUENCE, _SEQUENCE] or len(parts) != 3:
        raise DerError("not a Certificate")
    return parts


def read_fields(der: bytes) -> Fields:
    """Parse the fields of a certificate.

    Raises:
        DerError: `der` is not a certificate.
    """
    fields = list(elements(split_certificate(der)[0].content))
    is_first_version = not fields or fields[0].tag != _VERSION
    if not is_first_version:
        del fields[0]
    if len(fields) < 6:
        raise DerError("malformed TBSCertificate")
    _serial_number, _algorithm, issuer, validity, subject, key, *rest = fields
    extensions = next((field.content for field in rest if field.tag == _EXTENSIONS), None)
    return Fields(is_first_version, issuer, validity, subject, key, extensions)


def public_key_info(der: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo (RFC 5280 §4.1.2.7). A public-key pin is its hash (RFC 7469 §2.4).

    Raises:
        DerError: `der` is not a certificate.
    """
    key = read_fields(der).key
    if key.tag != _SEQUENCE or [part.tag for part in elements(key.content)] != [_SEQUENCE, _BIT_STRING]:
        raise DerError("malformed SubjectPublicKeyInfo")
    return key.encoded


def parse_certificate(der: bytes) -> Certificate:
    """Parse a certificate.

    Raises:
        DerError: The certificate is damaged.
    """
    try:
        fields = read_fields(der)
        not_before, not_after = map(_time, elements(fields.validity.content))
        found = fields.find_extensions(*_EXTENSIONS_READ).get
        return Certificate(
            der=der,
            issuer=fields.issuer.encoded,
            subject=fields.subject.encoded,
            not_before=not_before,
            not_after=not_after,
            key_id=string(value) if (value := found(_SUBJECT_KEY)) else None,
            authority_key_id=_authority_key_id(value) if (value := found(_AUTHORITY_KEY)) else None,
            is_authority=_is_authority(value) if (value := found(_BASIC_CONSTRAINTS)) else None,
            key_usage=_key_usage(value) if (value := found(_KEY_USAGE)) else None,
            serves=_serves(value) if (value := found(_EXTENDED_KEY_USAGE)) else True,
            has_name_constraints=found(_NAME_CONSTRAINTS) is not None,
            is_first_version=fields.is_first_version,
        )
    except ValueError as exc:  # DerError, or not exactly two times
        raise DerError("malformed certificate") from exc


def _is_authority(value: Element) -> bool:
    """Return cA of basic constraints. OpenSSL rejects any field other than cA and pathLenConstraint."""
    parts = list(elements(value.content))
    authority = parts.pop(0).content if parts and parts[0].tag == _BOOLEAN else b"\0"
    length = parts.pop(0) if parts and parts[0].tag == _INTEGER else None
    if value.tag != _SEQUENCE or parts or len(authority) != 1:
        raise DerError("malformed basic constraints")
    if length is not None and (not length.content or length.content[0] & 0x80):
        raise DerError("negative path length")
    return authority != b"\0"


def _key_usage(value: Element) -> int:
    """Return the first eight bits. As in OpenSSL, bits declared as unused are zero (X.690 §8.6.2)."""
    if value.tag != _BIT_STRING or not value.content or value.content[0] > 7:
        raise DerError("malformed key usage")
    unused, *octets = value.content
    if len(octets) == 1:
        octets[0] &= 0xFF << unused
    return octets[0] if octets else 0


def _serves(value: Element) -> bool:
    return any(purpose.content == _SERVER_AUTH for purpose in elements(value.content))


def _authority_key_id(value: Element) -> bytes | None:
    return next((part.content for part in elements(value.content) if part.tag == _KEY_IDENTIFIER), None)


def _time(moment: Element) -> float:
    """Return seconds since 1970 (RFC 5280 §4.1.2.5). A two-digit year is between 1950 and 2049."""
    text = moment.content.decode("ascii")
    if moment.tag == _UTC_TIME:
        text = ("19" if text >= "5" else "20") + text
    if len(text) != 15 or not text[:14].isdigit() or text[14] != "Z":
        raise DerError("malformed time")
    year, *rest = int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))
    month, day, hour, minute, second = rest
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
