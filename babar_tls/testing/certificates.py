"""A private CA that issues valid, unusual and invalid certificates.

The caller can choose the key, the hash and padding of the signature (MD5 and SHA-1 included), the names and their
place, the validity and the issuer. The defaults satisfy a strict verifier (RFC 5280, with the extensions that OpenSSL's
``X509_V_FLAG_X509_STRICT`` and rustls require).
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from babar_tls.testing._optional import demo_extra_missing
from babar_tls.testing._signing import generate_key, hash_for, sign_certificate

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import pkcs12
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as exc:
    raise demo_extra_missing(exc) from exc

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from babar_tls.testing._signing import HashName, KeyKind, Padding, PrivateKey


_PEM = serialization.Encoding.PEM
_KEY_FORMATS = {
    "pkcs8": serialization.PrivateFormat.PKCS8,
    "traditional": serialization.PrivateFormat.TraditionalOpenSSL,
}
_KEY_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class ServerCertificate:
    """A certificate, the intermediates that lead to its root, and its private key.

    Attributes:
        certificate_pem: The leaf, followed by its intermediates: the content of a server's certificate file.
        private_key_pem: The unencrypted PKCS #8 private key.
        der: The leaf in DER.
        root_pem: The trust anchor of this certificate.
    """

    certificate_pem: bytes
    private_key_pem: bytes
    der: bytes
    root_pem: bytes = b""

    def __repr__(self) -> str:
        return f"ServerCertificate(sha256={hashlib.sha256(self.der).hexdigest()})"

    def write(self, certificate_path: str | os.PathLike[str], key_path: str | os.PathLike[str]) -> None:
        """Write the chain and the private key as PEM files; only the owner can read the file of the key."""
        Path(certificate_path).write_bytes(self.certificate_pem)
        key_file = Path(key_path)
        key_file.touch(mode=0o600)
        key_file.chmod(0o600)
        key_file.write_bytes(self.private_key_pem)

    def private_key(
        self, form: Literal["pkcs8", "traditional"] = "pkcs8", *, der: bool = False, password: bytes | None = None
    ) -> bytes:
        """Encode the private key: ``"traditional"`` is PKCS #1 for RSA and SEC 1 for EC.

        Raises:
            ValueError: The key does not have this form, or the form cannot be encrypted.
        """
        encoding = serialization.Encoding.DER if der else _PEM
        encoded: bytes = self._key().private_bytes(encoding, _KEY_FORMATS[form], _encryption(password))
        return encoded

    def pkcs12(self, password: bytes | None = None) -> bytes:
        """Encode the private key, the certificate and its intermediates as a PKCS #12 file."""
        leaf, *intermediates = x509.load_pem_x509_certificates(self.certificate_pem)
        return pkcs12.serialize_key_and_certificates(b"babar", self._key(), leaf, intermediates, _encryption(password))

    def _key(self) -> Any:
        return serialization.load_pem_private_key(self.private_key_pem, None)


class CertificateAuthority:
    """A root CA with a new key.

    Args:
        key: The kind of key that this CA signs with.
        hash: The default hash of its signatures. Ed25519 and Ed448 ignore it.
        common_name: The subject's CN. The default is unique.
        not_before: Start of the validity; naive datetimes are UTC. Default: yesterday.
        not_after: End of the validity. Default: ten years after its start.
        extensions: Additional extensions of its certificate, each with True if it is critical.
    """

    _certificate: x509.Certificate

    def __init__(
        self,
        key: KeyKind = "p256",
        hash: HashName = "sha256",  # noqa: A002 - the name that callers expect
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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._certificate.subject.rfc4514_string()!r}>"

    @property
    def certificate_pem(self) -> bytes:
        """The certificate of this CA."""
        return self._certificate.public_bytes(_PEM)

    @property
    def root_pem(self) -> bytes:
        """The self-signed certificate at the top of the chain."""
        return self._issuer.root_pem if self._issuer else self.certificate_pem

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write `certificate_pem` to a file, for the client's tls_root_cert_path (sslrootcert)."""
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
        """Create an intermediate CA; the certificates that it issues include the chain without the root."""
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
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    ) -> ServerCertificate:
        """Issue a certificate.

        Args:
            names: Host names and IP addresses; they become dNSName and iPAddress entries of the
                subjectAltName extension.
            common_name: The subject's CN, or several. Default: none, or the first of `names` if `san` is `False`.
            san: `False` omits the subjectAltName extension, as old certificates do; a sequence of
                ``cryptography.x509.GeneralName`` is its content.
            subject: The whole subject, in place of `common_name`.
            key: The kind of the certificate's key.
            hash: The hash of its signature. Default: that of the CA.
            padding: The padding of the signature of an RSA CA; ``"pss"`` is RSASSA-PSS with MGF1 on the same hash
                and a salt of the hash's length.
            not_before: Start of the validity; naive datetimes are UTC. Default: yesterday, or a day before
                `not_after` if that is earlier.
            not_after: End of the validity. Default: a year after its start.
            self_signed: True to sign with the certificate's own key.
            usage: The extended key usage; `None` for no restriction.
            extensions: Additional extensions, each with True if it is critical.

        Raises:
            ValueError: The signature algorithm does not exist, for example MD5 with ECDSA.
        """
        leaf_key = generate_key(key)
        subject = subject or _subject(names[0] if common_name is None and san is False else common_name)
        builder = _builder(subject, subject if self_signed else self._certificate.subject, leaf_key)
        builder = _valid(builder, not_before, not_after, days=365)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # RSA key transport (TLS 1.2 without forward secrecy) needs keyEncipherment: RFC 5246 section 7.4.2.
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
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
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
        """Return a certificate revocation list of this CA in PEM.

        Args:
            revoked: The revoked certificates and intermediate CAs.
            last_update: Start of the validity; naive datetimes are UTC. Default: yesterday.
            next_update: End of the validity. Default: 30 days after `last_update`.
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
        """Return the chain from this CA upwards without the root, which clients do not accept from a server."""
        return self.certificate_pem + self._issuer._intermediates_pem() if self._issuer else b""

    def _authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        extension = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(extension.value)


def _subject(common_name: str | Sequence[str] | None) -> x509.Name:
    # With an empty subject, subjectAltName would have to be critical (RFC 5280 section 4.1.2.6).
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


def _encryption(password: bytes | None) -> serialization.KeySerializationEncryption:
    if password is None:
        return serialization.NoEncryption()
    return serialization.BestAvailableEncryption(password)


def _key_usage(*usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in usages for name in _KEY_USAGES})
