"""All backends report the same reason for a rejected chain.

A table has the differences. `tests.differential` compares the verdicts for many more chains.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from babar_tls import CertificateError
from babar_tls.backends import TlsParameters
from babar_tls.testing import CertificateAuthority, ServerCertificate
from babar_tls.testing.certificates import _key_usage
from babar_tls.x509.pem import encode

from .pairs import TLS_VERSIONS, Pair, only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

NAME = "db.example.com"
DAY = timedelta(days=1)
NOW = datetime.now(UTC)
PAST = {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY}
END = b"-----END CERTIFICATE-----\n"


def rsa(**options: Any) -> CertificateAuthority:
    return CertificateAuthority("rsa2048", **options)


def changed(
    certificate: x509.Certificate,
    issuer: CertificateAuthority | None,
    key: Any,
    *,
    replace: Iterable[x509.ExtensionType] = (),
    drop: Iterable[x509.ObjectIdentifier] = (),
) -> x509.Certificate:
    """Return the same certificate with other extensions, signed again by its issuer or with its own key."""
    new = {extension.oid: extension for extension in replace}
    builder = x509.CertificateBuilder(
        certificate.issuer,
        certificate.subject,
        certificate.public_key(),
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
    for extension in certificate.extensions:
        if extension.oid not in new and extension.oid not in drop:
            builder = builder.add_extension(extension.value, extension.critical)
    for value in new.values():
        builder = builder.add_extension(value, critical=True)
    return builder.sign(issuer._key if issuer is not None else key, hashes.SHA256())


def leaf(ca: CertificateAuthority, **changes: Any) -> ServerCertificate:
    """Return a certificate of this CA with other extensions."""
    template = ca.issue(NAME)
    made = changed(x509.load_der_x509_certificate(template.der), ca, None, **changes)
    rest = template.certificate_pem.partition(END)[2]
    return dataclasses.replace(
        template, certificate_pem=made.public_bytes(Encoding.PEM) + rest, der=made.public_bytes(Encoding.DER)
    )


def with_changes(ca: CertificateAuthority, **changes: Any) -> CertificateAuthority:
    """Return a CA whose certificate has other extensions."""
    ca._certificate = changed(ca._certificate, ca._issuer, ca._key, **changes)
    return ca


def holder(certificate: ServerCertificate) -> CertificateAuthority:
    """Return a CA that signs with the key of this certificate."""
    impostor = rsa()
    impostor._key = load_pem_private_key(certificate.private_key_pem, None)
    impostor._certificate = x509.load_der_x509_certificate(certificate.der)
    return impostor


def sent_along(certificate: ServerCertificate, *more: bytes) -> ServerCertificate:
    return dataclasses.replace(certificate, certificate_pem=b"".join((certificate.certificate_pem, *more)))


def alone(certificate: ServerCertificate) -> ServerCertificate:
    return dataclasses.replace(certificate, certificate_pem=certificate.certificate_pem.partition(END)[0] + END)


def damaged(certificate: ServerCertificate) -> ServerCertificate:
    der = bytearray(certificate.der)
    der[-5] ^= 1
    return dataclasses.replace(certificate, certificate_pem=encode("CERTIFICATE", bytes(der)), der=bytes(der))


def limited(ca: CertificateAuthority, **limits: Any) -> CertificateAuthority:
    constraints = {"permitted_subtrees": None, "excluded_subtrees": None, **limits}
    return ca.intermediate(extensions=[(x509.NameConstraints(**constraints), True)])


def path_length(count: int) -> list[x509.ExtensionType]:
    return [x509.BasicConstraints(ca=True, path_length=count)]


Made = tuple[ServerCertificate, bytes]


def by_root(make: Callable[[CertificateAuthority], ServerCertificate]) -> Callable[[], Made]:
    """Return a certificate from a trusted root."""

    def made() -> Made:
        root = rsa()
        return make(root), root.root_pem

    return made


def with_root(make: Callable[[CertificateAuthority], Made], **options: Any) -> Callable[[], Made]:
    """Return a certificate and other trusted roots."""
    return lambda: make(rsa(**options))


def by(root: CertificateAuthority, certificate: ServerCertificate | None = None) -> Made:
    return certificate or root.issue(NAME), root.root_pem


def self_signed() -> ServerCertificate:
    return rsa().issue(NAME, self_signed=True, key="rsa2048")


def impostor_of_a_trusted_leaf() -> Made:
    own = self_signed()
    return alone(holder(own).issue(NAME)), own.certificate_pem


def issued_by_a_leaf(root: CertificateAuthority) -> ServerCertificate:
    evil = root.issue("evil.example.com", key="rsa2048")
    return sent_along(alone(holder(evil).issue(NAME)), evil.certificate_pem)


def authority_as_server(root: CertificateAuthority) -> ServerCertificate:
    return leaf(root, replace=path_length(0))


NO_SIGNING = [_key_usage("key_encipherment", "crl_sign")]
CLIENTS = [x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])]
ORG, COM = [x509.DNSName("example.org")], [x509.DNSName("example.com")]
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")

#: The server's certificates and the trusted ones; the reason, `None` if the chain is accepted.
CASES: dict[str, tuple[Callable[[], Made], str | None]] = {
    "good": (by_root(lambda r: r.issue(NAME)), None),
    "good, RSASSA-PSS": (by_root(lambda r: r.issue(NAME, padding="pss")), None),
    "expired": (by_root(lambda r: r.issue(NAME, **PAST)), "expired"),
    "not yet valid": (by_root(lambda r: r.issue(NAME, not_before=NOW + DAY)), "not-yet-valid"),
    "intermediate expired": (by_root(lambda r: r.intermediate(**PAST).issue(NAME)), "expired"),
    "intermediate not yet valid": (
        by_root(lambda r: r.intermediate(not_before=NOW + DAY).issue(NAME)),
        "not-yet-valid",
    ),
    "root expired": (lambda: by(rsa(**PAST)), "expired"),
    "root not yet valid": (lambda: by(rsa(not_before=NOW + DAY)), "not-yet-valid"),
    "root expired, another trusted": (
        with_root(lambda r: (r.issue(NAME), r.root_pem + rsa().root_pem), **PAST),
        "expired",
    ),
    "unknown authority": (by_root(lambda _: rsa().issue(NAME)), "untrusted"),
    "unknown authority, which sends its root": (
        by_root(lambda _: sent_along((o := rsa()).issue(NAME), o.root_pem)),
        "untrusted",
    ),
    "an authority of the same name": (
        with_root(lambda r: (rsa(common_name="one").issue(NAME), r.root_pem), common_name="one"),
        "untrusted",
    ),
    "self-signed": (by_root(lambda _: self_signed()), "self-signed"),
    "intermediate missing": (by_root(lambda r: alone(r.intermediate().issue(NAME))), "untrusted"),
    "an intermediate as the root": (
        with_root(lambda r: ((i := r.intermediate()).issue(NAME), i.certificate_pem)),
        "untrusted",
    ),
    "issued, and itself as the root": (lambda: (own := rsa().issue(NAME), own.certificate_pem), "untrusted"),
    "leaf used as an authority": (by_root(issued_by_a_leaf), "invalid"),
    "trusted leaf used as an authority": (impostor_of_a_trusted_leaf, "invalid"),
    "root that may not sign": (lambda: by(with_changes(rsa(), replace=NO_SIGNING)), "invalid"),
    "root that is not a CA": (
        lambda: by(with_changes(rsa(), replace=[x509.BasicConstraints(False, None)])),
        "invalid",
    ),
    "intermediate that may not sign": (
        by_root(lambda r: with_changes(r.intermediate(), replace=NO_SIGNING).issue(NAME)),
        "invalid",
    ),
    "root for clients only": (lambda: by(with_changes(rsa(), replace=CLIENTS)), "purpose"),
    "intermediate for clients only": (
        by_root(lambda r: with_changes(r.intermediate(), replace=CLIENTS).issue(NAME)),
        "purpose",
    ),
    "path too long for the root": (
        lambda: by(r := with_changes(rsa(), replace=path_length(0)), r.intermediate().issue(NAME)),
        "invalid",
    ),
    "path too long for an intermediate": (
        by_root(lambda r: with_changes(r.intermediate(), replace=path_length(0)).intermediate().issue(NAME)),
        "invalid",
    ),
    "outside what is permitted": (by_root(lambda r: limited(r, permitted_subtrees=ORG).issue(NAME)), "invalid"),
    "inside what is excluded": (by_root(lambda r: limited(r, excluded_subtrees=COM).issue(NAME)), "invalid"),
    "outside what the root is permitted": (
        lambda: by(rsa(extensions=[(x509.NameConstraints(ORG, None), True)])),
        "invalid",
    ),
    "a client's": (by_root(lambda r: r.issue(NAME, usage="client")), "purpose"),
    "key usage for signing certificates only": (
        by_root(lambda r: leaf(r, replace=[_key_usage("crl_sign")])),
        "purpose",
    ),
    "unknown critical extension": (by_root(lambda r: leaf(r, replace=[STRANGE])), "invalid"),
    "damaged signature": (by_root(lambda r: damaged(r.issue(NAME))), "invalid"),
    "MD5": (by_root(lambda r: r.issue(NAME, hash="md5")), "weak"),
    "SHA-1": (by_root(lambda r: r.issue(NAME, hash="sha1")), "weak"),
    "SHA-1, RSASSA-PSS": (by_root(lambda r: r.issue(NAME, hash="sha1", padding="pss")), "weak"),
    "RSA of 1024 bits": (by_root(lambda r: r.issue(NAME, key="rsa1024")), "weak"),
    "wrong name": (by_root(lambda r: r.issue("other.example.com")), "hostname-mismatch"),
    "wildcard too wide": (by_root(lambda r: r.issue("*.com", "*")), "hostname-mismatch"),
    "wildcard within a label": (by_root(lambda r: r.issue("d*.example.com")), "hostname-mismatch"),
    "address only": (by_root(lambda r: r.issue("127.0.0.1")), "hostname-mismatch"),
    "common name only": (by_root(lambda r: r.issue(NAME, san=False)), "common-name-only"),
    "no name at all": (by_root(lambda r: r.issue()), "hostname-mismatch"),
    "SHA-224": (by_root(lambda r: r.issue(NAME, hash="sha224")), None),
    "SHA3-256": (by_root(lambda r: r.issue(NAME, hash="sha3-256")), None),
    "an authority's certificate as the server's": (by_root(authority_as_server), None),
    "expired, and of an unknown authority": (by_root(lambda _: rsa().issue(NAME, **PAST)), "untrusted"),
    "expired, and for another name": (by_root(lambda r: r.issue("x", **PAST)), "expired"),
}

#: The differences of backends.
DIFFERENCES: dict[tuple[str, str], str | None] = {
    # rustls does not expose a rejected chain, and reports an unknown issuer.
    ("rustls", "self-signed"): "untrusted",
    # An expired root is omitted if there are others.
    ("rustls", "root expired, another trusted"): "untrusted",
    # rustls compares names and tries the key. OpenSSL first compares the identifiers of the keys.
    ("rustls", "an authority of the same name"): "invalid",
    # rustls treats a signature by a key of less than 2048 bits as invalid.
    ("rustls", "RSA of 1024 bits"): "invalid",
    # Stricter than OpenSSL.
    ("rustls", "SHA-224"): "invalid",
    ("rustls", "SHA3-256"): "invalid",
    ("rustls", "an authority's certificate as the server's"): "invalid",
    # Not checked by webpki.
    ("rustls", "intermediate that may not sign"): None,
    ("rustls", "path too long for the root"): None,
    ("rustls", "key usage for signing certificates only"): None,
    # If there are two faults, backends find a different one first.
    ("rustls", "expired, and of an unknown authority"): "expired",
}


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    """Return the certificates. Each is created once."""
    return {}


def reason(backend: str, parameters: TlsParameters, certificate: ServerCertificate, version: str) -> str | None:
    pair = Pair(backend, parameters, NAME, certificate, **only(version))
    try:
        pair.handshake()
    except CertificateError as error:
        assert not pair._server_done or pair.server.version() == "TLSv1.2"
        return error.reason
    return None


@pytest.mark.parametrize("version", TLS_VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_reason_is_the_same_or_a_documented_difference(
    backend: str, case: str, version: str, made: dict[str, Made], tmp_path: Path
) -> None:
    if case.startswith("key usage for signing") and version == "TLSv1.2":
        pytest.skip("OpenSSL's server does not send such a certificate")
    make, expected = CASES[case]
    certificate, roots = made[case] if case in made else made.setdefault(case, make())
    path = tmp_path / "root.crt"
    path.write_bytes(roots)
    parameters = TlsParameters(root_cert_path=str(path), default_roots=False)
    found = reason(backend, parameters, certificate, version)
    assert found == DIFFERENCES.get((backend, case), expected)


def test_table_of_differences_has_only_differences() -> None:
    for (_, case), different in DIFFERENCES.items():
        assert CASES[case][1] != different
