"""Certificates from a description, signed with key pairs that are generated once, and worlds made of them."""

from __future__ import annotations

import dataclasses
import functools
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from babar_tls.config.enums import TlsVerify
from babar_tls.testing._der import assemble_certificate, element
from babar_tls.testing._signing import HashName, KeyKind, PrivateKey, generate_key, sign_certificate
from babar_tls.testing.certificates import _key_usage
from babar_tls.x509.der import elements, only_element

NAME = "db.example.com"
NOW = datetime.now(UTC)
_DAY = timedelta(days=1)
_TIMES = {
    "now": (NOW - 9 * _DAY, NOW + 90 * _DAY),
    "past": (NOW - 9 * _DAY, NOW - _DAY),
    "future": (NOW + _DAY, NOW + 90 * _DAY),
}
_PURPOSES = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")

SIGN_CERTIFICATES, SIGN_LISTS, SIGN_HANDSHAKES = ("key_cert_sign", "crl_sign"), ("crl_sign",), ("digital_signature",)


@dataclass(frozen=True, repr=False)
class Spec:
    """One certificate.

    Attributes:
        subject: The common name; with `organization` it is the subject.
        key: The name of its key pair; the same name is the same key. Empty: the subject's.
        issuer: The issuer, whose subject and key it refers to; `None` if it is self-signed.
        signer: The name of the key pair that has really signed it. Empty: the issuer's.
        authority: basicConstraints, `None` for none.
        usage: keyUsage, `None` for none.
        purposes: extendedKeyUsage, `None` for none.
        permitted: Name constraints: the subtrees.
        excluded: The same.
        names: The dNSNames; empty for no subjectAltName.
        authority_key: authorityKeyIdentifier: the issuer's, none, or another.
        damaged: A bit of the signature is flipped.
        more: Other extensions, each with whether it is critical.
        serial: Distinguishes certificates that are otherwise equal.
    """

    subject: str
    issuer: Spec | None = None
    key: str = ""
    signer: str = ""
    kind: KeyKind = "p256"
    hash: HashName = "sha256"
    version: Literal[1, 3] = 3
    time: Literal["now", "past", "future"] = "now"
    authority: bool | None = None
    path_length: int | None = None
    usage: tuple[str, ...] | None = None
    purposes: tuple[str, ...] | None = None
    permitted: tuple[x509.GeneralName, ...] = ()
    excluded: tuple[x509.GeneralName, ...] = ()
    names: tuple[str, ...] = ()
    authority_key: Literal["issuer", "none", "wrong"] = "issuer"
    damaged: bool = False
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    serial: int = 0

    def __repr__(self) -> str:
        changed = (field for field in dataclasses.fields(self) if getattr(self, field.name) != field.default)
        return f"Spec({', '.join(f'{field.name}={getattr(self, field.name)!r}' for field in changed)})"

    def but(self, **changes: object) -> Spec:
        """Return the same certificate with other fields."""
        return dataclasses.replace(self, **changes)

    @property
    def pair(self) -> PrivateKey:
        return key_pair(self.key or self.subject, self.kind)

    @property
    def is_self_signed(self) -> bool:
        return self.issuer is None or self.issuer.subject == self.subject


def root(subject: str = "root", **fields: object) -> Spec:
    return Spec(subject, authority=True, usage=SIGN_CERTIFICATES).but(**fields)


def below(issuer: Spec, subject: str = "intermediate", **fields: object) -> Spec:
    return Spec(subject, issuer, authority=True, usage=SIGN_CERTIFICATES).but(**fields)


def leaf(issuer: Spec | None, **fields: object) -> Spec:
    plain = Spec("server", issuer, authority=False, usage=SIGN_HANDSHAKES, purposes=("server",), names=(NAME,))
    return plain.but(**fields)


@dataclass(frozen=True)
class World:
    """What a server sends, and what the client trusts.

    Attributes:
        leaf: The server's certificate.
        sent: What is sent behind it, in order.
        trusted: What is in the root file, in order.
        verify: What the client verifies.
        common_name: The client compares names by libpq's rules.
    """

    leaf: Spec
    sent: tuple[Spec, ...]
    trusted: tuple[Spec, ...]
    verify: TlsVerify = TlsVerify.FULL
    common_name: bool = False

    @property
    def certificates(self) -> tuple[Spec, ...]:
        return (self.leaf, *self.sent, *self.trusted)


def chain(*path: Spec, **fields: object) -> World:
    """Return the usual world: a path from the server's certificate to the root; the root is trusted and not sent."""
    return dataclasses.replace(World(path[0], path[1:-1], path[-1:]), **fields)


@functools.lru_cache(maxsize=256)
def key_pair(name: str, kind: KeyKind = "p256") -> PrivateKey:
    return generate_key(kind)


@functools.lru_cache(maxsize=4096)
def certificate(spec: Spec) -> bytes:
    """Return the certificate, DER."""
    issuer = spec.issuer or spec
    public = spec.pair.public_key()
    builder = x509.CertificateBuilder().subject_name(_name(spec)).issuer_name(_name(issuer)).public_key(public)
    builder = builder.serial_number(zlib.crc32(repr(spec).encode()) + 1)
    builder = builder.not_valid_before(_TIMES[spec.time][0]).not_valid_after(_TIMES[spec.time][1])
    for extension, critical in _extensions(spec, issuer):
        builder = builder.add_extension(extension, critical)
    signer = key_pair(spec.signer, issuer.kind) if spec.signer else issuer.pair
    made = sign_certificate(builder, signer, spec.hash, "pkcs1v15")
    if spec.version == 1:
        return _version_1(made.tbs_certificate_bytes, signer)
    der = bytearray(made.public_bytes(Encoding.DER))
    der[-1] ^= spec.damaged
    return bytes(der)


def _name(spec: Spec) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, spec.subject)])


def _extensions(spec: Spec, issuer: Spec) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    if spec.authority is not None:
        found.append((x509.BasicConstraints(spec.authority, spec.path_length if spec.authority else None), True))
    if spec.usage is not None:
        found.append((_key_usage(*spec.usage), True))
    if spec.purposes is not None:
        found.append((x509.ExtendedKeyUsage([_PURPOSES[purpose] for purpose in spec.purposes]), False))
    if spec.permitted or spec.excluded:
        found.append((x509.NameConstraints(spec.permitted or None, spec.excluded or None), True))
    if spec.names:
        found.append((x509.SubjectAlternativeName([x509.DNSName(name) for name in spec.names]), False))
    found.append((x509.SubjectKeyIdentifier.from_public_key(spec.pair.public_key()), False))
    if spec.authority_key != "none":
        identified = key_pair("another") if spec.authority_key == "wrong" else issuer.pair
        found.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(identified.public_key()), False))
    return found + list(spec.more)


def _version_1(tbs: bytes, signer: PrivateKey) -> bytes:
    """Sign again without the version and the extensions, which are the first and the last field."""
    from cryptography.hazmat.primitives.asymmetric import ec

    fields = [field.encoded for field in elements(only_element(tbs).content)]
    bare = element(0x30, b"".join(fields[1:-1]))
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return assemble_certificate(bare, _ECDSA_SHA256, signer.sign(bare, ec.ECDSA(hashes.SHA256())))
