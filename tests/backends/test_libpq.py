"""Every backend has the verdicts of libpq with libpq's rules. Stricter verdicts are listed here."""

from __future__ import annotations

import dataclasses
import select
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from babar_tls import Error, TlsVersion
from babar_tls.backends import TlsParameters, available_backends, get_backend
from babar_tls.testing import CertificateAuthority, ScriptedServer, ServerCertificate
from babar_tls.testing import certificates as made_of

from .pairs import Pair, only
from .test_names import DB, LIKE_LIBPQ, STRICTER, issue

pytest.importorskip("OpenSSL")
pq = pytest.importorskip("psycopg.pq", exc_type=ImportError)  # also if libpq is not installed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from babar_tls.testing import ScriptedPeer

if pq.version() < 180000:
    pytest.skip("libpq 18 is required", allow_module_level=True)

BACKENDS = ("stdlib", "openssl", "rustls") if "rustls" in available_backends() else ("stdlib", "openssl")
DAY = timedelta(days=1)
NOW = datetime.now(UTC)
END = b"-----END CERTIFICATE-----\n"


def libpq(certificate: ServerCertificate, host: str, root: Path, crl: Path | None = None, **options: Any) -> str:
    """Return libpq's error for this certificate, or an empty string."""

    def script(peer: ScriptedPeer) -> None:
        peer.accept_tls(certificate, **options)
        peer.receive_startup()
        peer.send_message(b"E", b"SFATAL\0C28000\0Mreached\0\0")

    with ScriptedServer(script) as server:
        words = {"hostaddr": server.host, "port": server.port, "user": "x", "sslmode": "verify-full"}
        words |= {"host": host, "sslrootcert": root, "gssencmode": "disable", "sslcrl": crl or ""}
        connection = pq.PGconn.connect_start(" ".join(f"{key}='{value}'" for key, value in words.items()).encode())
        try:
            state = pq.PollingStatus.WRITING
            # A blocking call would hold the lock that the server's thread needs.
            while state in (pq.PollingStatus.READING, pq.PollingStatus.WRITING):
                socket = [connection.socket]
                reading = state == pq.PollingStatus.READING
                select.select(socket if reading else [], [] if reading else socket, [], 20)
                state = connection.connect_poll()
            message: str = connection.error_message.decode("utf-8", "replace")
        finally:
            connection.finish()
    assert message
    return "" if "reached" in message else message.partition("failed: ")[2].removeprefix("SSL error: ").strip()


def ours(backend: str, parameters: TlsParameters, host: str, certificate: ServerCertificate, **options: Any) -> str:
    """Return the error of a backend for this certificate, or an empty string."""
    try:
        Pair(backend, parameters, host, certificate, **options).handshake()
    except Error as error:
        return error.message
    return ""


@pytest.mark.parametrize("case", LIKE_LIBPQ)
def test_names_are_compared_as_in_libpq(
    case: str, authority: CertificateAuthority, root_path: Path, parameters: TlsParameters
) -> None:
    subject, san, host, expected = LIKE_LIBPQ[case]
    certificate = issue(authority, subject, san)
    theirs = libpq(certificate, host, root_path)
    assert bool(theirs) is bool(expected)
    if host.startswith("."):
        return  # no such name can be asked for
    chosen = dataclasses.replace(parameters, common_name=True)
    for backend in BACKENDS:
        our = ours(backend, chosen, host, certificate)
        if not get_backend(backend).capabilities.common_names:
            # By RFC 9525 the same name, or none: a common name does not count, nor an address as a dNSName.
            assert our == ours("stdlib", parameters, host, certificate)
            assert our or not theirs or case == "null in a dNSName before our address"
            continue
        assert theirs in our
        assert bool(our) is bool(theirs)


@pytest.mark.parametrize("case", STRICTER)
def test_names_that_only_libpq_accepts_are_refused(
    case: str, authority: CertificateAuthority, root_path: Path, parameters: TlsParameters
) -> None:
    subject, san, host = STRICTER[case]
    certificate = issue(authority, subject, san)
    assert not libpq(certificate, host, root_path)
    chosen = dataclasses.replace(parameters, common_name=True)
    for backend in BACKENDS:
        assert "does not match host name" in ours(backend, chosen, host, certificate)


class World:
    """Several CAs."""

    def __init__(self) -> None:
        self.root = CertificateAuthority("rsa2048")
        self.other = CertificateAuthority()
        self.intermediate = self.root.intermediate()
        self.chained = self.intermediate.issue(DB)
        self.bare = dataclasses.replace(
            self.chained, certificate_pem=self.chained.certificate_pem.partition(END)[0] + END
        )
        self.self_signed = self.root.issue(DB, self_signed=True)
        self.direct = self.root.issue(DB)
        self.expired_root = CertificateAuthority(not_before=NOW - 9 * DAY, not_after=NOW - DAY)
        self.crossed = dataclasses.replace(
            self.chained, certificate_pem=self.chained.certificate_pem + self._cross_signed()
        )

    def _cross_signed(self) -> bytes:
        """Return the intermediate's certificate from the other root."""
        subject, key = self.intermediate._certificate.subject, self.intermediate._key
        builder = made_of._builder(subject, self.other._certificate.subject, key)
        builder = made_of._valid(builder, None, None, days=300)
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
        builder = builder.add_extension(self.other._authority_key_identifier(), False)
        signed = builder.sign(self.other._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def limited(self, domain: str) -> CertificateAuthority:
        """Return a CA that may only sign for this domain."""
        limit = x509.NameConstraints(permitted_subtrees=[x509.DNSName(domain)], excluded_subtrees=None)
        return self.root.intermediate(extensions=[(limit, True)])


@pytest.fixture(scope="module")
def world() -> World:
    return World()


#: The server's certificate, the content of the root file, and the verdict of babar-tls.
CHAINS: dict[str, tuple[Callable[[World], tuple[ServerCertificate, bytes]], str]] = {
    "an intermediate as the root": (
        lambda w: (w.chained, w.intermediate.certificate_pem),
        "unable to get issuer certificate",
    ),
    "an intermediate as the root, not sent": (
        lambda w: (w.bare, w.intermediate.certificate_pem),
        "unable to get issuer certificate",
    ),
    "an intermediate trusted with the root, not sent": (
        lambda w: (w.bare, w.intermediate.certificate_pem + w.root.root_pem),
        "",
    ),
    "an intermediate missing": (lambda w: (w.bare, w.root.root_pem), "unable to get local issuer certificate"),
    "self-signed, given as the root": (lambda w: (w.self_signed, w.self_signed.certificate_pem), ""),
    "self-signed": (lambda w: (w.self_signed, w.root.root_pem), "self-signed certificate"),
    "issued, given as the root": (
        lambda w: (w.direct, w.direct.certificate_pem),
        "unable to get local issuer certificate",
    ),
    "cross-signed, the first path trusted": (lambda w: (w.crossed, w.root.root_pem), ""),
    "cross-signed, the second path trusted": (
        lambda w: (w.crossed, w.other.root_pem),
        "unable to get local issuer certificate",
    ),
    "expired": (lambda w: (w.root.issue(DB, not_after=NOW - DAY), w.root.root_pem), "certificate has expired"),
    "not yet valid": (
        lambda w: (w.root.issue(DB, not_before=NOW + DAY), w.root.root_pem),
        "certificate is not yet valid",
    ),
    "root expired": (lambda w: (w.expired_root.issue(DB), w.expired_root.root_pem), "certificate has expired"),
    "expired, and another's": (
        lambda w: (w.root.issue("x", not_after=NOW - DAY), w.root.root_pem),
        "certificate has expired",
    ),
    "a client's": (lambda w: (w.root.issue(DB, usage="client"), w.root.root_pem), "unsuitable certificate purpose"),
    "for any usage": (lambda w: (w.root.issue(DB, usage=None), w.root.root_pem), ""),
    "within name constraints": (lambda w: (w.limited("example.com").issue(DB), w.root.root_pem), ""),
    "outside name constraints": (
        lambda w: (w.limited("example.org").issue(DB), w.root.root_pem),
        "permitted subtree violation",
    ),
    "RSASSA-PSS": (lambda w: (w.root.issue(DB, key="rsa2048", padding="pss"), w.root.root_pem), ""),
    "Ed25519": (lambda w: (w.root.issue(DB, key="ed25519"), w.root.root_pem), ""),
    "a weak key": (lambda w: (w.root.issue(DB, key="rsa1024"), w.root.root_pem), "EE certificate key too weak"),
    "SHA-1": (lambda w: (w.root.issue(DB, hash="sha1"), w.root.root_pem), "CA signature digest algorithm too weak"),
    "MD5": (lambda w: (w.root.issue(DB, hash="md5"), w.root.root_pem), "CA signature digest algorithm too weak"),
}


#: The verdict of rustls, if it is different: it tries every path, and does not expose a rejected chain.
BY_RUSTLS = {
    "an intermediate as the root": "unable to get local issuer certificate",
    "an intermediate as the root, not sent": "unable to get local issuer certificate",
    "self-signed": "unable to get local issuer certificate",
    "cross-signed, the second path trusted": "",
    "a weak key": "certificate signature failure",
}


@pytest.mark.parametrize("case", CHAINS)
def test_chains_are_verified_as_in_libpq(case: str, world: World, tmp_path: Path) -> None:
    """All backends have the same texts. `BY_RUSTLS` has the differences of rustls."""
    make, expected = CHAINS[case]
    certificate, roots = make(world)
    root = tmp_path / "root.crt"
    root.write_bytes(roots)
    theirs = libpq(certificate, DB, root)
    assert theirs == ("certificate verify failed" if expected else "")
    parameters = TlsParameters(root_cert_path=str(root), default_roots=False, common_name=True)
    for backend in BACKENDS:
        wanted = BY_RUSTLS.get(case, expected) if backend == "rustls" else expected
        found, _, _ = ours(backend, parameters, DB, certificate).partition(": the CA certificate")
        assert found == (wanted and f"SSL error: certificate verify failed: {wanted}")


#: The lists, the verdict of babar-tls, and that of libpq if it is different.
LISTS: dict[str, tuple[Callable[[World], bytes], str]] = {
    "all": (lambda w: w.root.revocation_list() + w.intermediate.revocation_list(), ""),
    "revoked": (
        lambda w: w.root.revocation_list() + w.intermediate.revocation_list([w.chained]),
        "certificate revoked",
    ),
    "intermediate revoked": (
        lambda w: w.root.revocation_list([w.intermediate]) + w.intermediate.revocation_list(),
        "certificate revoked",
    ),
    "root's only": (lambda w: w.root.revocation_list(), "unable to get certificate CRL"),
    "intermediate's only": (lambda w: w.intermediate.revocation_list(), "unable to get certificate CRL"),
    "expired": (
        lambda w: (
            w.root.revocation_list(last_update=NOW - 9 * DAY, next_update=NOW - DAY) + w.intermediate.revocation_list()
        ),
        "CRL has expired",
    ),
    "not yet valid": (
        lambda w: w.root.revocation_list(last_update=NOW + DAY) + w.intermediate.revocation_list(),
        "CRL is not yet valid",
    ),
}


@pytest.mark.parametrize("case", LISTS)
def test_revocation_lists_are_checked_as_in_libpq(case: str, world: World, tmp_path: Path) -> None:
    make, expected = LISTS[case]
    root, crl = tmp_path / "root.crt", tmp_path / "root.crl"
    root.write_bytes(world.root.root_pem)
    crl.write_bytes(make(world))
    theirs = libpq(world.chained, DB, root, crl)
    assert theirs == ("certificate verify failed" if expected else "")
    parameters = TlsParameters(root_cert_path=str(root), default_roots=False, common_name=True, crl_path=str(crl))
    for backend in ("stdlib", "openssl"):
        assert ours(backend, parameters, DB, world.chained) == (expected and f"SSL error: {theirs}: {expected}")


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_file_without_revocation_list_is_refused(content: bytes | None, world: World, tmp_path: Path) -> None:
    """Unlike libpq, which connects without checking revocation."""
    root, crl = tmp_path / "root.crt", tmp_path / "root.crl"
    root.write_bytes(world.root.root_pem)
    if content is not None:
        crl.write_bytes(content)
    assert libpq(world.direct, DB, root, crl) == ""
    parameters = TlsParameters(root_cert_path=str(root), default_roots=False, crl_path=str(crl))
    for backend in ("stdlib", "openssl"):
        assert str(crl) in ours(backend, parameters, DB, world.direct)


def test_certificate_in_a_file_of_lists_is_not_trusted(world: World, tmp_path: Path) -> None:
    """Unlike libpq, which trusts it."""
    root, crl = tmp_path / "root.crt", tmp_path / "root.crl"
    root.write_bytes(world.root.root_pem)
    crl.write_bytes(world.other.root_pem + world.other.revocation_list())
    certificate = world.other.issue(DB)
    assert libpq(certificate, DB, root, crl) == ""
    parameters = TlsParameters(root_cert_path=str(root), default_roots=False, crl_path=str(crl))
    for backend in ("stdlib", "openssl"):
        assert "unable to get local issuer" in ours(backend, parameters, DB, certificate)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_tls_12_is_accepted_by_default_and_older_versions_are_refused(
    version: str, world: World, tmp_path: Path
) -> None:
    root = tmp_path / "root.crt"
    root.write_bytes(world.root.root_pem)
    parameters = TlsParameters(root_cert_path=str(root), default_roots=False)
    newest = dataclasses.replace(parameters, min_version=TlsVersion.TLSV1_3)
    assert libpq(world.direct, DB, root, **only(version)) == ""
    for backend in BACKENDS:
        assert ours(backend, parameters, DB, world.direct, **only(version)) == ""
        refused = "" if version == "TLSv1.3" else "SSL error: no TLS version in common with the server"
        assert ours(backend, newest, DB, world.direct, **only(version)) == refused
