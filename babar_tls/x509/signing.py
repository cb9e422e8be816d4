"""Read from a certificate what decides whether it may sign others and serve as a server's (RFC 5280 §4.1, §4.2.1).

Nothing is verified here: rustls verifies, and returns the certificates that it was sent. What rustls has accepted is
read by the more lenient rules of BER.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .ber import elements, first_element, string
from .certificate import DerError, children, only_child

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Certificate", "parse_certificate"]

_BOOLEAN, _INTEGER, _BIT_STRING, _OID, _UTC_TIME = 0x01, 0x02, 0x03, 0x06, 0x17
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_KEY_IDENTIFIER = 0x80  # of an AuthorityKeyIdentifier
_PERMITTED, _EXCLUDED, _DNS_NAME = 0xA0, 0xA1, 0x82

# Extensions, by the content of their identifiers.
_SUBJECT_KEY, _KEY_USAGE, _SUBJECT_ALT_NAME = b"\x55\x1d\x0e", b"\x55\x1d\x0f", b"\x55\x1d\x11"
_BASIC_CONSTRAINTS, _NAME_CONSTRAINTS, _AUTHORITY_KEY = b"\x55\x1d\x13", b"\x55\x1d\x1e", b"\x55\x1d\x23"
_EXTENDED_KEY_USAGE = b"\x55\x1d\x25"
_SERVER_AUTH = bytes.fromhex("2b06010505070301")

# Bits of a key usage (RFC 5280 §4.2.1.3), the first the highest.
_DIGITAL_SIGNATURE, _KEY_ENCIPHERMENT, _KEY_AGREEMENT, _KEY_CERT_SIGN = 0x80, 0x20, 0x08, 0x04


@dataclass(frozen=True)
class Certificate:
    """One certificate.

    Attributes:
        der: The whole of it.
        issuer: The issuer's name, DER.
        subject: The subject's.
        key: The subject's public key, DER.
        not_before: Seconds since 1970.
        not_after: The same.
        key_id: The identifier of its key, if it has one.
        authority_key_id: That of its issuer's key.
        is_authority: It says that it is an authority's (``CA:TRUE``).
        path_length: How many authorities may follow, `None` for any number.
        key_usage: The bits, `None` if it may be used for anything.
        serves: Its extended key usage, where it has one, allows TLS servers.
        permitted: The domains for which alone it may sign, `None` for any.
        excluded: The domains for which it may not.
        has_dns_names: It has alternative names that are dNSNames.
        is_first_version: It is of X.509's first version, which has no extensions.
    """

    der: bytes
    issuer: bytes
    subject: bytes
    key: bytes
    not_before: float
    not_after: float
    key_id: bytes | None = None
    authority_key_id: bytes | None = None
    is_authority: bool | None = None
    path_length: int | None = None
    key_usage: int | None = None
    serves: bool = True
    permitted: tuple[bytes, ...] | None = None
    excluded: tuple[bytes, ...] = ()
    has_dns_names: bool = False
    is_first_version: bool = False

    def is_current(self, now: float) -> bool:
        """Is it valid at this time?"""
        return self.not_before <= now <= self.not_after

    @property
    def is_self_signed(self) -> bool:
        """Does it say that its own key has signed it?"""
        return self.subject == self.issuer and self.may_be_issued_by(self)

    @property
    def may_sign(self) -> bool:
        """Is it an authority's? A root of X.509's first version does not say so, and is one (as in OpenSSL)."""
        if self.key_usage is not None and not self.key_usage & _KEY_CERT_SIGN:
            return False
        if self.is_authority is None:
            return self.key_usage is not None or (self.is_first_version and self.is_self_signed)
        return self.is_authority

    @property
    def may_speak_tls(self) -> bool:
        """May its key be used in a server's handshake?"""
        return self.key_usage is None or bool(
            self.key_usage & (_DIGITAL_SIGNATURE | _KEY_ENCIPHERMENT | _KEY_AGREEMENT)
        )

    @property
    def has_name_constraints(self) -> bool:
        """Are there domains that it may not sign for?"""
        return self.permitted is not None or bool(self.excluded)

    def may_be_issued_by(self, other: Certificate) -> bool:
        """Is the other its issuer, by name and identifier of the key?"""
        known = self.authority_key_id is not None and other.key_id is not None
        return self.issuer == other.subject and (not known or self.authority_key_id == other.key_id)


def parse_certificate(der: bytes) -> Certificate:
    """Read a certificate.

    Raises:
        DerError: It is damaged.
    """
    try:
        tbs, _algorithm, _signature = children(only_child(der).content)
        fields = list(elements(tbs.content))
        is_first_version = not fields or fields[0].tag != _VERSION
        if not is_first_version:
            del fields[0]
        _serial, _algorithm, issuer, validity, subject, key, *rest = fields
        not_before, not_after = (_time(moment.tag, moment.content) for moment in elements(validity.content))
        found: dict[str, object] = {}
        for item in rest:
            if item.tag == _EXTENSIONS:
                for oid, value in _extensions(item.content):
                    found.update(_meaning(oid, value))
    except ValueError as exc:  # DerError is one; so is another number of fields
        raise DerError("malformed certificate") from exc
    return Certificate(
        der=der,
        issuer=issuer.encoded,
        subject=subject.encoded,
        key=key.encoded,
        not_before=not_before,
        not_after=not_after,
        is_first_version=is_first_version,
        **found,  # type: ignore[arg-type]
    )


def _extensions(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for sequence in elements(data):
        for extension in elements(sequence.content):
            parts = tuple(elements(extension.content))
            if len(parts) < 2 or parts[0].tag != _OID:
                raise DerError("malformed extension")
            yield parts[0].content, string(parts[-1])


def _meaning(oid: bytes, value: bytes) -> dict[str, object]:
    """The fields of `Certificate` that an extension is about."""
    if oid == _BASIC_CONSTRAINTS:
        return _basic_constraints(first_element(value).content)
    if oid == _KEY_USAGE:
        bits = first_element(value)
        if bits.tag != _BIT_STRING or not bits.content:
            raise DerError("malformed key usage")
        return {"key_usage": bits.content[1] if len(bits.content) > 1 else 0}
    if oid == _EXTENDED_KEY_USAGE:
        return {"serves": any(purpose.content == _SERVER_AUTH for purpose in elements(first_element(value).content))}
    if oid == _SUBJECT_KEY:
        return {"key_id": first_element(value).content}
    if oid == _AUTHORITY_KEY:
        content = first_element(value).content
        return {
            "authority_key_id": next((part.content for part in elements(content) if part.tag == _KEY_IDENTIFIER), None)
        }
    if oid == _SUBJECT_ALT_NAME:
        content = first_element(value).content
        return {"has_dns_names": any(name.tag == _DNS_NAME for name in elements(content))}
    return _name_constraints(first_element(value).content) if oid == _NAME_CONSTRAINTS else {}


def _basic_constraints(content: bytes) -> dict[str, object]:
    is_authority, length = False, None
    for part in elements(content):
        if part.tag == _BOOLEAN:
            is_authority = part.content != b"\0"
        elif part.tag == _INTEGER:
            length = int.from_bytes(part.content, "big", signed=True)
    return {"is_authority": is_authority, "path_length": length}


def _name_constraints(content: bytes) -> dict[str, object]:
    """Those about dNSNames."""
    found: dict[str, object] = {}
    for side in elements(content):
        bases = [first_element(subtree.content) for subtree in elements(side.content)]
        domains = tuple(base.content.lower() for base in bases if base.tag == _DNS_NAME)
        if domains and side.tag in (_PERMITTED, _EXCLUDED):
            found["permitted" if side.tag == _PERMITTED else "excluded"] = domains
    return found


def _time(tag: int, content: bytes) -> float:
    """RFC 5280 §4.1.2.5: years of two digits are those from 1950 on."""
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text >= "5" else "20") + text
    if len(text) != 15 or not text[:14].isdigit() or text[14] != "Z":
        raise DerError("malformed time")
    year, *rest = int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))
    month, day, hour, minute, second = rest
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
