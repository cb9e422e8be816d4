"""Checks of the verification of the server's certificate: every fault is refused, and the `reason` is the fault.

Libraries find the same fault in different ways; then several reasons are correct.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from babar_tls.backends import TlsParameters
from babar_tls.config import TlsVerify
from babar_tls.errors import ConfigError
from babar_tls.testing.backend_checks._check import Trial, check, refused
from babar_tls.testing.backend_checks._pair import NAME
from babar_tls.testing.certificates import CertificateAuthority, ServerCertificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DAY = timedelta(days=1)


def _now() -> datetime:
    return datetime.now(UTC)


def _without_intermediates(certificate: ServerCertificate) -> ServerCertificate:
    return _with_leaf(certificate, x509.load_der_x509_certificate(certificate.der))


def _with_leaf(certificate: ServerCertificate, leaf: x509.Certificate) -> ServerCertificate:
    pem, der = leaf.public_bytes(Encoding.PEM), leaf.public_bytes(Encoding.DER)
    return replace(certificate, certificate_pem=pem, der=der)


def _with_root(certificate: ServerCertificate) -> ServerCertificate:
    return replace(certificate, certificate_pem=certificate.certificate_pem + certificate.root_pem)


def _issued_by_a_leaf(authority: CertificateAuthority) -> ServerCertificate:
    """Return a certificate that was issued with the key of an end-entity certificate (CVE-2002-0862)."""
    leaf = authority.issue("evil.example.com")
    impostor = CertificateAuthority()
    impostor._key = load_pem_private_key(leaf.private_key_pem, None)  # type: ignore[assignment]  # a P-256 key
    impostor._certificate = x509.load_der_x509_certificate(leaf.der)
    forged = impostor.issue(NAME)
    return replace(forged, certificate_pem=forged.certificate_pem + leaf.certificate_pem)


def _forged(authority: CertificateAuthority) -> ServerCertificate:
    """Return a certificate with the issuer name of the CA, signed with another key."""
    impostor = CertificateAuthority()
    impostor._certificate = authority._certificate
    return impostor.issue(NAME)


def _damaged(authority: CertificateAuthority) -> ServerCertificate:
    """Return a certificate whose signature has a wrong bit."""
    good = authority.issue(NAME)
    der = bytearray(good.der)
    der[-5] ^= 1
    return _with_leaf(good, x509.load_der_x509_certificate(bytes(der)))


def _constrained(authority: CertificateAuthority) -> ServerCertificate:
    """Return a certificate of an intermediate CA that may not issue for its name."""
    constraint = x509.NameConstraints(permitted_subtrees=[x509.DNSName("example.org")], excluded_subtrees=None)
    return authority.intermediate(extensions=[(constraint, True)]).issue(NAME)


Fault: TypeAlias = tuple["Callable[[CertificateAuthority], ServerCertificate]", set[str]]
#: For each fault the function that makes the certificate, and the correct reasons of the refusal.
FAULTS: dict[str, Fault] = {
    "expired": (lambda ca: ca.issue(NAME, not_after=_now() - _DAY), {"expired"}),
    "not yet valid": (lambda ca: ca.issue(NAME, not_before=_now() + _DAY), {"not-yet-valid"}),
    "another CA's": (lambda _: CertificateAuthority().issue(NAME), {"untrusted"}),
    "another CA's, which is sent": (
        lambda _: _with_root(CertificateAuthority().issue(NAME)),
        {"untrusted", "self-signed"},
    ),
    "a CA's of the same name": (
        lambda ca: CertificateAuthority(common_name=_common_name(ca)).issue(NAME),
        {"untrusted", "invalid"},
    ),
    "intermediate missing": (lambda ca: _without_intermediates(ca.intermediate().issue(NAME)), {"untrusted"}),
    "intermediate expired": (
        lambda ca: ca.intermediate(not_before=_now() - 2 * _DAY, not_after=_now() - _DAY).issue(NAME),
        {"expired"},
    ),
    "issued by an end entity": (_issued_by_a_leaf, {"invalid", "untrusted", "purpose"}),
    "self-signed": (lambda ca: ca.issue(NAME, self_signed=True), {"self-signed", "untrusted"}),
    "a client's": (lambda ca: ca.issue(NAME, usage="client"), {"purpose"}),
    "forged": (_forged, {"invalid", "untrusted"}),
    "damaged": (_damaged, {"invalid", "untrusted"}),
    "outside its issuer's name constraints": (_constrained, {"invalid", "untrusted", "hostname-mismatch"}),
}
_GOOD: dict[str, Callable[[CertificateAuthority], ServerCertificate]] = {
    "RSA": lambda ca: ca.issue(NAME, key="rsa2048"),
    "P-256": lambda ca: ca.issue(NAME),
    "P-384": lambda ca: ca.issue(NAME, key="p384"),
    "sha384": lambda ca: ca.issue(NAME, hash="sha384"),
    "one intermediate": lambda ca: ca.intermediate().issue(NAME),
    "two intermediates": lambda ca: ca.intermediate().intermediate("rsa2048").issue(NAME),
    "with its root": lambda ca: _with_root(ca.issue(NAME)),
    "without extended key usage": lambda ca: ca.issue(NAME, usage=None),
}
_WEAK = {"weak", "invalid", "untrusted"}


def _common_name(authority: CertificateAuthority) -> str:
    return str(authority._certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def _refused(trial: Trial, parameters: TlsParameters, certificate: ServerCertificate, reasons: Iterable[str]) -> None:
    for level in (TlsVerify.FULL, TlsVerify.CA):
        with trial.case(f"verify={level.value}"):
            refused(trial.pair(certificate=certificate, parameters=replace(parameters, verify=level)), *reasons)


@check(cases=FAULTS)
def faults(trial: Trial, fault: Fault) -> None:
    """A certificate with a fault is refused, whether or not names are verified, with the fault as its `reason`."""
    make, reasons = fault
    _refused(trial, trial.parameters(), make(trial.fixtures.authority), reasons)


@check()
def weak_signatures(trial: Trial) -> None:
    """Certificates that are signed with MD5 or SHA-1 are refused."""
    authority = CertificateAuthority("rsa2048")  # only RSA signs with MD5
    parameters = trial.parameters(root_cert_path=trial.fixtures.put("rsa.crt", authority.certificate_pem))
    trial.pair(certificate=authority.issue(NAME), parameters=parameters).handshake()
    for name in ("md5", "sha1"):
        with trial.case(name):
            _refused(trial, parameters, authority.issue(NAME, hash=name), _WEAK)


@check()
def expired_root(trial: Trial) -> None:
    """An expired root is not trusted: the handshake fails, or create_context() does."""
    authority = CertificateAuthority(not_before=_now() - 9 * _DAY, not_after=_now() - _DAY)
    parameters = trial.parameters(root_cert_path=trial.fixtures.put("expired.crt", authority.certificate_pem))
    try:
        trial.connection(NAME, parameters)
    except ConfigError as exc:
        assert "expired" in str(exc), f"the ConfigError does not state that the root has expired: {exc}"
        return
    _refused(trial, parameters, authority.issue(NAME), {"expired", "untrusted"})


@check(per_version=True, cases=_GOOD)
def good_chains(trial: Trial, version: str, make: Callable[[CertificateAuthority], ServerCertificate]) -> None:
    """Valid certificates are accepted: any usual key, with intermediates, with the root, without a stated purpose."""
    trial.pair(certificate=make(trial.fixtures.authority), version=version).handshake()


@check(cases=FAULTS)
def unverified(trial: Trial, fault: Fault) -> None:
    """With `TlsVerify.NONE` any certificate is accepted and reported byte for byte, without a root file."""
    missing = str(trial.fixtures.new_folder() / "missing")
    parameters = TlsParameters(verify=TlsVerify.NONE, root_cert_path=missing)
    certificate = fault[0](trial.fixtures.authority)
    pair = trial.pair(certificate=certificate, parameters=parameters).handshake()
    assert pair.facts.peer_certificate == certificate.der, "peer_certificate is not what the server sent"


@check()
def only_the_given_roots(trial: Trial) -> None:
    """All roots in root_cert_path are trusted, and no others; a root that the server sends is not."""
    first, second = CertificateAuthority(), CertificateAuthority()
    path = trial.fixtures.put("bundle.crt", b"a comment\n" + first.certificate_pem + b"\n" + second.certificate_pem)
    bundle = trial.parameters(root_cert_path=path)
    for authority in (first, second):
        trial.pair(certificate=authority.issue(NAME), parameters=bundle).handshake()
    _refused(trial, bundle, trial.fixtures.certificate, {"untrusted"})
    _refused(trial, trial.parameters(), first.issue(NAME), {"untrusted"})


@check()
def default_roots(trial: Trial) -> None:
    """A certificate of an unknown CA is refused with the machine's default roots, too."""
    refused(trial.pair(parameters=TlsParameters(default_roots=True)), "untrusted")
