"""Read the fields of a certificate (RFC 5280 §4.1, §4.2.1): its key, and what decides whether it may sign others.

The names of its subject are in `names`, its signature algorithm in `signature_algorithm`. Nothing is verified here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from .der import DerError, Element, elements, first_element, only_element, string

if TYPE_CHECKING:
    from collections.abc import Callable


_BOOLEAN, _INTEGER, _BIT_STRING, _OID, _UTC_TIME, _SEQUENCE = 0x01, 0x02, 0x03, 0x06, 0x17, 0x30
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_KEY_IDENTIFIER = 0x80  # of an AuthorityKeyIdentifier
_MAX_CERTIFICATE = 1 << 24  # bytes

# Extensions, by the content of their identifiers.
_SUBJECT_KEY, _KEY_USAGE = b"\x55\x1d\x0e", b"\x55\x1d\x0f"
_BASIC_CONSTRAINTS, _NAME_CONSTRAINTS, _AUTHORITY_KEY = b"\x55\x1d\x13", b"\x55\x1d\x1e", b"\x55\x1d\x23"
_EXTENDED_KEY_USAGE = b"\x55\x1d\x25"
_SERVER_AUTH = bytes.fromhex("2b06010505070301")

_KEY_CERT_SIGN = 0x04  # of a key usage (RFC 5280 §4.2.1.3), whose first bit is the highest


class Fields(NamedTuple):
    """The fields of a TBSCertificate that are read here, undecoded."""

    is_first_version: bool
    issuer: Element
    validity: Element
    subject: Element
    key: Element
    extensions: bytes | None

    def find_extensions(self, *identifiers: bytes) -> dict[bytes, Element]:
        """Return the values of the extensions with these identifiers, as far as the certificate has them.

        Raises:
            DerError: One occurs twice (RFC 5280 §4.2; OpenSSL considers such a certificate invalid), or is malformed.
        """
        found: dict[bytes, Element] = {}
        for extension in elements(first_element(self.extensions).content) if self.extensions is not None else ():
            parts = tuple(elements(extension.content))  # identifier, critical if it is not the default, value
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
        key_id: The identifier of the subject's key, if there is one.
        authority_key_id: The identifier of the issuer's key, if there is one.
        is_authority: ``CA:TRUE`` or ``CA:FALSE``, `None` without basic constraints.
        key_usage: The bits of the key usage, `None` if every use is allowed.
        serves: The extended key usage is absent, or allows TLS servers.
        has_name_constraints: There is a nameConstraints extension, of whatever kinds of names.
        is_first_version: It is of X.509 version 1, which has no extensions.
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
        """Return True if the certificate names itself as its issuer; its signature is not verified."""
        return self.subject == self.issuer and self.may_be_issued_by(self)

    @property
    def may_sign(self) -> bool:
        """Return True for a CA certificate; a self-signed certificate of X.509 version 1 is one, as in OpenSSL."""
        if self.key_usage is not None and not self.key_usage & _KEY_CERT_SIGN:
            return False
        if self.is_authority is None:
            return self.key_usage is not None or (self.is_first_version and self.is_self_signed)
        return self.is_authority

    def may_be_issued_by(self, other: Certificate) -> bool:
        """Return True if `other` is the issuer, by its name and the identifier of its key."""
        known = self.authority_key_id is not None and other.key_id is not None
        return self.issuer == other.subject and (not known or self.authority_key_id == other.key_id)


def split_certificate(der: bytes, *, strict: bool = False) -> tuple[Element, Element, Element]:
    """Return the three parts of a certificate: what is signed, the signature algorithm, the signature.

    Args:
        der: The certificate.
        strict: Require DER of the certificate and its parts.

    Raises:
        DerError: `der` is not a certificate.
    """
    if len(der) > _MAX_CERTIFICATE:
        raise DerError("larger than any certificate")
    certificate = only_element(der, strict=strict)
    parts = tuple(elements(certificate.content, strict=strict))
    if certificate.tag != _SEQUENCE or [part.tag for part in parts[:2]] != [_SEQUENCE, _SEQUENCE] or len(parts) != 3:
        raise DerError("not a Certificate")
    return parts


def read_fields(der: bytes) -> Fields:
    """Read the fields of a certificate.

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
    """Read the SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), which a pin of the public key hashes (RFC 7469 §2.4).

    Raises:
        DerError: `der` is not a certificate.
    """
    key = read_fields(der).key
    if key.tag != _SEQUENCE or [part.tag for part in elements(key.content)] != [_SEQUENCE, _BIT_STRING]:
        raise DerError("malformed SubjectPublicKeyInfo")
    return key.encoded


def parse_certificate(der: bytes) -> Certificate:
    """Read a certificate.

    Raises:
        DerError: The certificate is damaged.
    """
    try:
        fields = read_fields(der)
        not_before, not_after = map(_time, elements(fields.validity.content))
        found = fields.find_extensions(*_INTERPRETERS)
        interpreted: dict[str, object] = {}
        for identifier, value in found.items():
            interpreted.update(_INTERPRETERS[identifier](value))
    except ValueError as exc:  # DerError, or another number of times
        raise DerError("malformed certificate") from exc
    return Certificate(
        der=der,
        issuer=fields.issuer.encoded,
        subject=fields.subject.encoded,
        not_before=not_before,
        not_after=not_after,
        is_first_version=fields.is_first_version,
        **interpreted,  # type: ignore[arg-type]  # fields of their types
    )


def _basic_constraints(value: Element) -> dict[str, object]:
    """Read cA, false by default, and pathLenConstraint; OpenSSL considers a certificate with anything else invalid."""
    parts = list(elements(value.content))
    authority = parts.pop(0).content if parts and parts[0].tag == _BOOLEAN else b"\0"
    length = parts.pop(0) if parts and parts[0].tag == _INTEGER else None
    if value.tag != _SEQUENCE or parts or len(authority) != 1:
        raise DerError("malformed basic constraints")
    if length is not None and (not length.content or length.content[0] & 0x80):
        raise DerError("negative path length")
    return {"is_authority": authority != b"\0"}


def _key_usage(value: Element) -> dict[str, object]:
    """Read the first eight bits. Those that are declared unused count as zero, as in OpenSSL (X.690 §8.6.2)."""
    if value.tag != _BIT_STRING or not value.content or value.content[0] > 7:
        raise DerError("malformed key usage")
    unused, *octets = value.content
    if len(octets) == 1:
        octets[0] &= 0xFF << unused
    return {"key_usage": octets[0] if octets else 0}


def _extended_key_usage(value: Element) -> dict[str, object]:
    return {"serves": any(purpose.content == _SERVER_AUTH for purpose in elements(value.content))}


def _authority_key(value: Element) -> dict[str, object]:
    parts = elements(value.content)
    return {"authority_key_id": next((part.content for part in parts if part.tag == _KEY_IDENTIFIER), None)}


#: The fields of `Certificate` that an extension is about, by its identifier.
_INTERPRETERS: dict[bytes, Callable[[Element], dict[str, object]]] = {
    _SUBJECT_KEY: lambda value: {"key_id": string(value)},
    _KEY_USAGE: _key_usage,
    _BASIC_CONSTRAINTS: _basic_constraints,
    _NAME_CONSTRAINTS: lambda _: {"has_name_constraints": True},
    _AUTHORITY_KEY: _authority_key,
    _EXTENDED_KEY_USAGE: _extended_key_usage,
}


def _time(moment: Element) -> float:
    """Return seconds since 1970 (RFC 5280 §4.1.2.5): years of two digits are those from 1950 on."""
    text = moment.content.decode("ascii")
    if moment.tag == _UTC_TIME:
        text = ("19" if text >= "5" else "20") + text
    if len(text) != 15 or not text[:14].isdigit() or text[14] != "Z":
        raise DerError("malformed time")
    year, *rest = int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))
    month, day, hour, minute, second = rest
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
