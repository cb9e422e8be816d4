"""Errors of rustls are explained: the certificate, the reason, and the backend that accepts it."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from babar_tls import CertificateError, ConfigError, TlsError
from babar_tls.backends import get_backend
from babar_tls.testing import CertificateAuthority
from babar_tls.testing.backend_checks._tls13 import Tls13Server
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.parameters import ClientCertificate

from .pairs import TLS_VERSIONS, Pair, only
from .test_client_certificates import presented
from .unusual_certificates import DB, alternative_names, dns, element, extension, issue, issue_for_pss_key, oid

pytest.importorskip("rtls")

from babar_tls.backends.rustls_errors import rejected_certificate, rustls_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from babar_tls.backends import TlsParameters
    from babar_tls.testing import ServerCertificate

NAME = DB.decode()
#: Names of Rust errors: two words without a blank between them. Other names of this form are excluded.
RAW = re.compile(
    r"\b(?!OpenSSL|PostgreSQL|ChaCha20|subjectAltName|basicConstraints)[A-Z]?[a-z]+[A-Z][a-z]+\w*\b|Other\("
)
NAMES = alternative_names(dns())


def told(error: Any, *words: str) -> None:
    """Check that a message has these words and no name of a Rust error."""
    for text in (error.message, error.remedy or ""):
        assert not RAW.search(text), text
    for word in words:
        assert word in str(error)


#: Server certificates that rustls rejects, and words of the message.
REJECTED: dict[str, tuple[Callable[[CertificateAuthority], ServerCertificate], list[str]]] = {
    "version 1": (
        lambda ca: issue(ca, common_name=DB, version=None),
        ["the server's certificate", "version 1", "tls_backend='stdlib' or 'openssl'", "tls_common_name"],
    ),
    "unknown critical extension": (
        lambda ca: issue(ca, extension("2b06010401867f01", b"\x05\0", critical=True), NAMES),
        ["unhandled critical extension", "A certificate of the chain", "tls_backend='stdlib' or 'openssl'"],
    ),
    "critical policies": (
        lambda ca: issue(ca, extension("551d20", element(0x30, element(0x30, oid("2a0304"))), critical=True), NAMES),
        ["unhandled critical extension", "policies", "tls_backend='stdlib' or 'openssl'"],
    ),
    "empty extended key usage": (
        lambda ca: issue(ca, extension("551d25", element(0x30)), NAMES),
        ["unsuitable certificate purpose"],
    ),
    "an extension twice": (lambda ca: issue(ca, NAMES, NAMES), ["has a duplicate or malformed extension"]),
    "malformed basic constraints": (
        lambda ca: issue(ca, extension("551d13", b"\x05\0"), NAMES),
        ["is damaged, or its encoding is not DER", "tls_backend='stdlib' or 'openssl'"],
    ),
    "not a certificate": (
        lambda ca: dataclasses.replace(issue(ca, NAMES), der=b"garbage"),
        ["is damaged, or its encoding is not DER"],
    ),
    "not yet valid and expired at once": (
        lambda ca: dataclasses.replace(
            (made := issue(ca, NAMES)), der=made.der.replace(b"250101000000Z", b"460101000000Z")
        ),
        ["certificate has expired"],
    ),
    "two signature algorithms": (
        lambda ca: dataclasses.replace((made := issue(ca, NAMES)), der=made.der.replace(*SHA384_ONCE, 1)),
        ["two different signature algorithms"],
    ),
}
SHA384_ONCE = bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a8648ce3d040303")


@pytest.mark.parametrize("case", REJECTED)
def test_rejected_certificate_is_described(
    case: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    make, words = REJECTED[case]
    with pytest.raises(CertificateError) as caught:
        Tls13Server(make(authority)).connect(TlsConnection(get_backend("rustls"), parameters, NAME))
    told(caught.value, *words)


@pytest.mark.parametrize("kind", ["permitted_subtrees", "excluded_subtrees"])
def test_name_constraints_of_directory_names_are_explained(
    backend: str, kind: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    limits: dict[str, Any] = {"permitted_subtrees": None, "excluded_subtrees": None}
    organization = "babar-tls testing" if kind == "permitted_subtrees" else "other"
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organization)])
    constraints = x509.NameConstraints(**{**limits, kind: [x509.DirectoryName(name)]})
    pair = Pair(backend, parameters, NAME, authority.intermediate(extensions=[(constraints, True)]).issue(NAME))
    if backend != "rustls":
        pair.handshake()
        return
    with pytest.raises(CertificateError) as caught:
        pair.handshake()
    told(caught.value, "permitted subtree violation", "directory names", "tls_backend='stdlib' or 'openssl'")


def chain(authority: CertificateAuthority, length: int) -> ServerCertificate:
    for _ in range(length):
        authority = authority.intermediate()
    return authority.issue(NAME)


def test_chain_that_is_too_long_is_explained(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    Pair(backend, parameters, NAME, chain(authority, 6)).handshake()
    pair = Pair(backend, parameters, NAME, chain(authority, 7))
    if backend != "rustls":
        pair.handshake()
        return
    with pytest.raises(CertificateError) as caught:
        pair.handshake()
    told(caught.value, "certificate chain too long", "six intermediate certificates")


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_chain_of_too_many_bytes_is_explained(
    backend: str, version: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    large = issue(authority, extension("2b06010401867f01", bytes(60_000)))
    certificate = authority.issue(NAME)
    certificate = dataclasses.replace(
        certificate, certificate_pem=certificate.certificate_pem + 2 * large.certificate_pem
    )
    with pytest.raises(TlsError) as caught:
        Pair(backend, parameters, NAME, certificate, **only(version)).handshake()
    assert type(caught.value) is TlsError
    text = "more than 64 KiB, which rustls does not accept" if backend == "rustls" else "excessive message size"
    told(caught.value, text, "intermediates")


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_server_with_an_rsassa_pss_key_is_explained(
    backend: str, version: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    pair = Pair(backend, parameters, NAME, issue_for_pss_key(authority, NAMES), **only(version))
    if backend != "rustls":
        pair.handshake()
        return
    with pytest.raises(TlsError) as caught:
        pair.handshake()
    told(caught.value, "handshake failure", "RSASSA-PSS", "tls_backend='stdlib' or 'openssl'")


@pytest.mark.parametrize(("hash_name", "name"), [("sha224", "RSA and SHA-224"), ("sha3-256", "RSA and SHA3-256")])
def test_signature_that_rustls_cannot_verify_is_named(
    hash_name: Any, name: str, parameters: TlsParameters, tmp_path: Path
) -> None:
    authority = CertificateAuthority("rsa2048")
    path = tmp_path / "root.crt"
    authority.write(path)
    chosen = dataclasses.replace(parameters, root_cert_path=str(path))
    with pytest.raises(CertificateError) as caught:
        Pair("rustls", chosen, NAME, authority.issue(NAME, hash=hash_name)).handshake()
    told(caught.value, name, "tls_backend='stdlib' or 'openssl'")


#: The content of an AlgorithmIdentifier, hexadecimal, and the name of the algorithm.
ALGORITHMS = [
    ("06032b6571", "Ed448"),
    ("06092a864886f70d01010e0500", "RSA and SHA-224"),
    ("060960864801650304030e0500", "RSA and SHA3-256"),
    ("060960864801650304030a", "ECDSA and SHA3-256"),
    ("0609608648016503040312", "ML-DSA-65"),
    ("06092a864886f70d01010a3011a00f300d06096086480165030402010500", "RSASSA-PSS (by an RSASSA-PSS key"),
]


@pytest.mark.parametrize(("identifier", "name"), ALGORITHMS)
@pytest.mark.parametrize("kind", ["Context", "ForPublicKeyContext"])
def test_signature_algorithms_have_names(kind: str, identifier: str, name: str) -> None:
    content = list(bytes.fromhex(identifier))
    text = f"UnsupportedSignatureAlgorithm{kind} {{ signature_algorithm_id: {content}, supported_algorithms: [] }}"
    told(rejected_certificate(f"invalid peer certificate: {text}"), name, "tls_backend='stdlib' or 'openssl'")


#: Client certificates that rustls does not load, and words of the message.
IDENTITIES: dict[str, tuple[Callable[[CertificateAuthority], ServerCertificate], list[str]]] = {
    "version 1": (
        lambda ca: issue(ca, common_name=b"app", version=None),
        ["could not read certificate file", "rustls does not accept it", "version 1", "'stdlib' or 'openssl'"],
    ),
    "unknown critical extension": (
        lambda ca: issue(ca, extension("2b06010401867f01", b"\x05\0", critical=True), common_name=b"app"),
        ["could not read certificate file", "unhandled critical extension"],
    ),
    "RSASSA-PSS key": (
        issue_for_pss_key,
        ["could not load private key file", "RSASSA-PSS", "tls_backend='stdlib' or 'openssl'"],
    ),
    "Ed448 key": (
        lambda ca: ca.issue(usage="client", key="ed448"),
        ["could not load private key file", "Ed448", "tls_backend='stdlib' or 'openssl'"],
    ),
}


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("case", IDENTITIES)
def test_client_certificate_that_rustls_does_not_load_is_described(
    case: str, encrypted: bool, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """It is not reported as a damaged key or a wrong password."""
    make, words = IDENTITIES[case]
    own = make(authority)
    if encrypted and case == "RSASSA-PSS key":
        pytest.skip("cryptography converts it to an RSA key, which does not match the certificate")
    password = b"secret" if encrypted else None
    key = own.private_key(password=password) if encrypted else own.private_key_pem
    source = ClientCertificate(certificate=own.certificate_pem, key=key, password=password)
    with pytest.raises(ConfigError) as caught:
        TlsConnection(get_backend("rustls"), dataclasses.replace(parameters, client_certificate=source), NAME)
    told(caught.value, *words)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("case", ["version 1", "RSASSA-PSS key"])
@pytest.mark.parametrize("other", ["stdlib", "openssl"])
def test_recommended_backends_present_the_certificate(
    case: str, other: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    own = IDENTITIES[case][0](authority)
    source = {"certificate": own.certificate_pem, "key": own.private_key_pem}
    assert presented(other, parameters, authority.issue(NAME), authority.certificate_pem, **source) == own.der


#: All errors of rustls and webpki about a certificate, except those about revocation lists and names.
WEBPKI = [
    "BadDer",
    "BadDerTime",
    "CaUsedAsEndEntity",
    "EmptyEkuExtension",
    "EndEntityUsedAsCa",
    "ExtensionValueInvalid",
    "InvalidCertValidity",
    "InvalidNetworkMaskConstraint",
    "InvalidSerialNumber",
    "InvalidSignatureForPublicKey",
    "MalformedDnsIdentifier",
    "MalformedExtensions",
    "MalformedNameConstraint",
    "MaximumNameConstraintComparisonsExceeded",
    "MaximumPathBuildCallsExceeded",
    "MaximumPathDepthExceeded",
    "MaximumSignatureChecksExceeded",
    "NameConstraintViolation",
    "PathLenConstraintViolated",
    "RequiredEkuNotFound",
    "SignatureAlgorithmMismatch",
    "TrailingData(Certificate)",
    "UnknownIssuer",
    "UnsupportedCertVersion",
    "UnsupportedCriticalExtension",
    "UnsupportedNameType",
]


@pytest.mark.parametrize("name", WEBPKI)
def test_every_certificate_error_of_webpki_has_a_text(name: str) -> None:
    told(rejected_certificate(f"invalid peer certificate: Other(OtherError({name}))"))


@pytest.mark.parametrize("name", ["BadEncoding", "Expired", "NotValidYet", "UnknownIssuer", "BadSignature"])
def test_every_certificate_error_of_rustls_has_a_text(name: str) -> None:
    told(rejected_certificate(f"invalid peer certificate: {name}"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("received corrupt message of type HandshakePayloadTooLarge", "more than 64 KiB"),
        ("received corrupt message of type CertificatePayloadTooLarge", "more than 64 KiB"),
        ('received corrupt message of type MissingData("ServerHello")', "malformed TLS message (missing data: "),
        ("received corrupt message of type InvalidDhParams", "malformed TLS message (invalid dh params)"),
        ("peer misbehaved: SignedKxWithWrongAlgorithm", "violated the TLS protocol (signed kx with wrong algorithm)"),
        (
            "peer misbehaved: IllegalHelloRetryRequestWithNoChanges",
            "violated the TLS protocol (illegal hello retry request",
        ),
        ("peer is incompatible: NoCipherSuitesInCommon", "in common (no cipher suites in common)"),
        ("received fatal alert: HandshakeFailure", "(handshake failure)"),
    ],
)
def test_every_other_error_has_a_text(text: str, words: str) -> None:
    error = rustls_error(text, established=False)
    assert words in error.message
    assert not RAW.search(error.message.replace("ServerHello", ""))
