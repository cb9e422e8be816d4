"""A private certificate authority that issues good, odd and bad certificates on demand.

Everything a verifier may look at can be chosen: the key, the signature's hash and padding (MD5 and SHA-1 included), the
names and where they stand, the validity, the issuer. What is not asked for is as a strict verifier wants it (RFC 5280,
with the extensions that OpenSSL's ``X509_V_FLAG_X509_STRICT`` and rustls insist on).
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from babar_tls.testing._optional import demo_extra_missing
from babar_tls.testing._signing import encode_key, encode_pkcs12, generate_key, hash_for, sign_certificate

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as exc:
    raise demo_extra_missing(exc) from exc

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from babar_tls.testing._signing import HashName, KeyForm, KeyKind, Padding, PrivateKey


_PEM = serialization.Encoding.PEM
_KEY_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class ServerCertificate:
    """A certificate, the intermediates that lead to its root, and its private key.

    Attributes:
        certificate_pem: The leaf, followed by its intermediates, as a server's certificate file wants them.
        private_key_pem: The unencrypted PKCS #8 private key.
        der: The leaf in DER, as a client sees it.
        root_pem: The certificate to trust for this one to be valid.
    """

    certificate_pem: bytes
    private_key_pem: bytes
    der: bytes
    root_pem: bytes = b""

    def __repr__(self) -> str:
        return f"ServerCertificate(sha256={hashlib.sha256(self.der).hexdigest()})"

    def write(self, certificate_path: str | os.PathLike[str], key_path: str | os.PathLike[str]) -> None:
        """Writes the chain and the private key as PEM files; the key's file is readable by its owner alone."""
        Path(certificate_path).write_bytes(self.certificate_pem)
        key_file = Path(key_path)
        key_file.touch(mode=0o600)
        key_file.chmod(0o600)
        key_file.write_bytes(self.private_key_pem)

    def private_key(self, form: KeyForm = "pkcs8", *, der: bool = False, password: bytes | None = None) -> bytes:
        """The private key as files have it: ``"traditional"`` is PKCS #1 for RSA and SEC 1 for EC.

        Raises:
            ValueError: The key has no such form, or none that a password encrypts.
        """
        return encode_key(self.private_key_pem, form, der=der, password=password)

    def pkcs12(self, password: bytes | None = None) -> bytes:
        """The private key, the certificate and its intermediates as one PKCS #12 file."""
        return encode_pkcs12(self.private_key_pem, self.certificate_pem, password)


class CertificateAuthority:
    """A root of trust of your own, with a fresh key.

    Args:
        key: The kind of key that this authority signs with.
        hash: The hash of its signatures, where `issue` is not told otherwise. Ed25519 and Ed448 have none to choose.
        common_name: The subject's CN. The default is unique, so that two authorities cannot be mistaken for each other.
        not_before: Start of the validity; naive datetimes are UTC. Default: yesterday.
        not_after: End of the validity. Default: ten years after its start.
        extensions: More extensions of its certificate, each with whether it is critical.
    """

    _certificate: x509.Certificate

    def __init__(
        self,
        key: KeyKind = "p256",
        hash: HashName = "sha256",  # noqa: A002 - it is what one calls it
        common_name: str | None = None,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
        _issuer: CertificateAuthority | None = None,
    ) -> None:
        self._key = generate_key(key)
        self._hash: HashName = hash
        self._issuer = _issuer
        subject = _subject(common_name or f"babar-tls test CA {secrets.token_hex(4)}")
        signer = _issuer or self
        builder = _builder(subject, subject if _issuer is None else _issuer._certificate.subject, self._key)
        builder = _valid(builder, not_before, not_after, days=3650)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        if _issuer is not None:
            builder = builder.add_extension(_issuer._authority_key_identifier(), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        self._certificate = sign_certificate(builder, signer._key, signer._hash, "pkcs1v15")

    @property
    def certificate_pem(self) -> bytes:
        """This authority's own certificate."""
        return self._certificate.public_bytes(_PEM)

    @property
    def root_pem(self) -> bytes:
        """The self-signed certificate at the top of the chain: for a root authority, its own."""
        return self._issuer.root_pem if self._issuer else self.certificate_pem

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes `certificate_pem` to a file, to be named as the client's root certificate."""
        Path(path).write_bytes(self.certificate_pem)

    def intermediate(
        self,
        key: KeyKind = "p256",
        hash: HashName = "sha256",  # noqa: A002 - as in the constructor
        common_name: str | None = None,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    ) -> CertificateAuthority:
        """An authority below this one; the certificates that it issues bring the chain along, the root excepted."""
        validity = {"not_before": not_before, "not_after": not_after}
        return CertificateAuthority(key, hash, common_name, **validity, extensions=extensions, _issuer=self)

    def issue(
        self,
        *names: str,
        common_name: str | Sequence[str] | None = None,
        san: bool | Sequence[x509.GeneralName] = True,
        subject: x509.Name | None = None,
        key: KeyKind = "p256",
        hash: HashName | None = None,  # noqa: A002 - as in the constructor
        padding: Padding = "pkcs1v15",
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        self_signed: bool = False,
        usage: Literal["server", "client"] | None = "server",
    ) -> ServerCertificate:
        """Issues a certificate.

        Args:
            names: Host names and IP addresses; they become dNSName and iPAddress entries of the
                subjectAltName extension.
            common_name: The subject's CN, or several. Default: none, or the first of `names` where `san` is `False`.
            san: `False` leaves the subjectAltName extension out, as certificates of another age do; a sequence of
                ``cryptography.x509.GeneralName`` is its whole content, whatever is in it.
            subject: The whole subject, in place of `common_name`.
            key: The kind of the certificate's own key.
            hash: The hash of the signature over it. Default: the authority's.
            padding: The padding of an RSA authority's signature; ``"pss"`` is RSASSA-PSS with MGF1 on the same hash
                and a salt of the hash's length.
            not_before: Start of the validity; naive datetimes are UTC. Default: yesterday, or a day before
                `not_after` if that is earlier.
            not_after: End of the validity. Default: a year after its start.
            self_signed: Signs with the certificate's own key, leaving the authority out of it.
            usage: The extended key usage: a server's certificate or a client's; `None` leaves it open.

        Raises:
            ValueError: The combination does not exist, for example MD5 with ECDSA.
        """
        leaf_key = generate_key(key)
        subject = subject or _subject(names[0] if common_name is None and san is False else common_name)
        builder = _builder(subject, subject if self_signed else self._certificate.subject, leaf_key)
        builder = _valid(builder, not_before, not_after, days=365)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # RSA key transport (TLS 1.2 without forward secrecy) is what keyEncipherment is for: RFC 5246 section 7.4.2.
        usages = ["digital_signature", *(["key_encipherment"] if isinstance(leaf_key, rsa.RSAPrivateKey) else [])]
        builder = builder.add_extension(_key_usage(*usages), critical=True)
        if usage is not None:
            purpose = ExtendedKeyUsageOID.SERVER_AUTH if usage == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        alternative = [_general_name(name) for name in names if san is True] if isinstance(san, bool) else san
        if alternative or not isinstance(san, bool):
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        if not self_signed:
            builder = builder.add_extension(self._authority_key_identifier(), critical=False)
        certificate = sign_certificate(builder, leaf_key if self_signed else self._key, hash or self._hash, padding)
        pem = certificate.public_bytes(_PEM)
        return ServerCertificate(
            certificate_pem=pem if self_signed else pem + self._intermediates_pem(),
            private_key_pem=leaf_key.private_bytes(
                _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            der=certificate.public_bytes(serialization.Encoding.DER),
            root_pem=pem if self_signed else self.root_pem,
        )

    def revocation_list(
        self,
        revoked: Iterable[ServerCertificate | CertificateAuthority] = (),
        *,
        last_update: datetime | None = None,
        next_update: datetime | None = None,
    ) -> bytes:
        """A PEM certificate revocation list of this authority.

        Args:
            revoked: Certificates, and authorities below this one, that are not to be trusted any more.
            last_update: Since when it is valid; naive datetimes are UTC. Default: yesterday.
            next_update: Until when. Default: 30 days after `last_update`.
        """
        since = _utc(last_update or datetime.now(UTC) - timedelta(days=1))
        until = _utc(next_update or since + timedelta(days=30))
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._certificate.subject)
        builder = builder.last_update(since).next_update(until)
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        builder = builder.add_extension(self._authority_key_identifier(), critical=False)
        for certificate in revoked:
            serial_number = x509.load_pem_x509_certificate(certificate.certificate_pem).serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial_number).revocation_date(since)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, hash_for(self._key, "sha256")).public_bytes(_PEM)

    def _intermediates_pem(self) -> bytes:
        """The chain from this authority upwards, without the root: clients have that or must not trust it."""
        return self.certificate_pem + self._issuer._intermediates_pem() if self._issuer else b""

    def _authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        extension = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(extension.value)


def _subject(common_name: str | Sequence[str] | None) -> x509.Name:
    # Never empty: an empty subject would oblige subjectAltName to be critical (RFC 5280 section 4.1.2.6).
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "babar-tls testing")]
    names = [common_name] if isinstance(common_name, str) else common_name or ()
    attributes += [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]
    return x509.Name(attributes)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: x509.Name, issuer: x509.Name, key: PrivateKey) -> x509.CertificateBuilder:
    public_key = key.public_key()
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)


def _valid(
    builder: x509.CertificateBuilder, not_before: datetime | None, not_after: datetime | None, *, days: int
) -> x509.CertificateBuilder:
    if not_before is None:
        not_before = datetime.now(UTC) - timedelta(days=1)
        if not_after is not None:
            not_before = min(not_before, _utc(not_after) - timedelta(days=1))
    not_after = not_after or not_before + timedelta(days=days)
    return builder.not_valid_before(_utc(not_before)).not_valid_after(_utc(not_after))


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _key_usage(*usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in usages for name in _KEY_USAGES})
