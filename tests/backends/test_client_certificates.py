"""Our own certificate, from every kind of file, and what is wrong with files that do not hold one."""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import ClientCertificateError, ConfigError
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.testing import CertificateAuthority, ServerCertificate
from babar_tls.tls import memory_files
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.parameters import ClientCertificate
from babar_tls.x509.der import elements, only_element
from babar_tls.x509.pem import encode

from . import unusual_certificates
from .pairs import TLS_VERSIONS, Pair, only

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "db.example.com"
PASSWORD = b"k\xc3\xa4se"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes of files")


@pytest.fixture(scope="module")
def server(authority: CertificateAuthority) -> ServerCertificate:
    return authority.issue(NAME)


def put(path: Path, data: bytes, mode: int = 0o600) -> str:
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def presented(backend: str, parameters: TlsParameters, server: ServerCertificate, root: bytes, **source: Any) -> bytes:
    """The certificate that the server saw, DER."""
    chosen = dataclasses.replace(parameters, client_certificate=ClientCertificate(**source))
    pair = Pair(backend, chosen, NAME, server, client_ca_pem=root).handshake()
    seen = pair.server.getpeercert(binary_form=True)
    assert seen is not None
    return seen


def refused(backend: str, parameters: TlsParameters, **source: Any) -> ConfigError:
    chosen = dataclasses.replace(parameters, client_certificate=ClientCertificate(**source))
    with pytest.raises(ConfigError) as caught:
        TlsConnection(get_backend(backend), chosen, NAME)
    return caught.value


FORMS: dict[str, dict[str, Any]] = {
    "PKCS #8": {},
    "PKCS #8, DER": {"der": True},
    "PKCS #8, encrypted": {"password": PASSWORD},
    "PKCS #8, encrypted, DER": {"password": PASSWORD, "der": True},
    "traditional": {"form": "traditional"},
    "traditional, DER": {"form": "traditional", "der": True},
    "traditional, encrypted": {"form": "traditional", "password": PASSWORD},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "ed25519"])
def test_every_form_of_key(  # noqa: PLR0917 - fixtures
    backend: str,
    kind: Any,
    form: str,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
    tmp_path: Path,
) -> None:
    """RSA, EC and Ed25519 keys work in PEM and DER, in PKCS #1, SEC 1 and PKCS #8, encrypted or not."""
    if kind == "ed25519" and "traditional" in form:
        pytest.skip("there is no such form")
    client = clients.issue(usage="client", common_name="app", key=kind)
    options = FORMS[form]
    certificate, key = client.certificate_pem, client.private_key(**options)
    password = {"password": options["password"]} if "password" in options else {}
    files = {"certificate": put(tmp_path / "c.crt", certificate, 0o644), "key": put(tmp_path / "c.key", key)}
    for source in (files, {"certificate": certificate, "key": key}):
        assert presented(backend, parameters, server, clients.root_pem, **source, **password) == client.der


def test_one_file(
    backend: str, parameters: TlsParameters, server: ServerCertificate, client: ServerCertificate, tmp_path: Path
) -> None:
    """One PEM file may hold both, the key first or last; it is then guarded like a key."""
    for data in (client.private_key_pem + client.certificate_pem, client.certificate_pem + client.private_key_pem):
        path = put(tmp_path / "both.pem", data)
        for place in (path, data):
            assert presented(backend, parameters, server, client.root_pem, certificate=place) == client.der
    Path(path).chmod(0o644)
    error = refused(backend, parameters, certificate=path)
    assert f'private key file "{path}" has group or world access' in error.message


@pytest.mark.parametrize("password", [None, b"", PASSWORD])
@pytest.mark.parametrize("name", ["c.p12", "anything"])
def test_pkcs12(  # noqa: PLR0917 - fixtures
    backend: str,
    name: str,
    password: bytes | None,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
    tmp_path: Path,
) -> None:
    """A PKCS #12 file is known by its content; it brings key and intermediates."""
    client = clients.intermediate().issue(usage="client", common_name="app")
    data = client.pkcs12(password or None)
    path = put(tmp_path / name, data)
    for place in (path, data):
        seen = presented(backend, parameters, server, clients.root_pem, certificate=place, password=password)
        assert seen == client.der
    if password:
        error = refused(backend, parameters, certificate=path)
        assert error.message == f'private key file "{path}" is encrypted'
        error = refused(backend, parameters, certificate=path, password="wrong")
        assert (
            error.message == f'could not read certificate file "{path}": the password is wrong, or the file is damaged'
        )


def test_pkcs12_needs_cryptography(
    parameters: TlsParameters, client: ServerCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without cryptography a PKCS #12 file is refused with the command that installs it."""
    for module in ("cryptography.hazmat.primitives.serialization", "cryptography.hazmat.primitives"):
        monkeypatch.setitem(sys.modules, module, None)
    error = refused("stdlib", parameters, certificate=client.pkcs12())
    assert "PKCS #12 needs the package cryptography" in error.message
    assert "pip install 'babar-tls[openssl]'" in (error.remedy or "")


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_intermediates_are_sent(
    backend: str, version: str, parameters: TlsParameters, server: ServerCertificate, clients: CertificateAuthority
) -> None:
    """What follows our certificate in its file is sent too: the server may know the root alone."""
    client = clients.intermediate().intermediate().issue(usage="client", common_name="app")
    chosen = dataclasses.replace(
        parameters, client_certificate=ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)
    )
    Pair(backend, chosen, NAME, server, client_ca_pem=clients.root_pem, **only(version)).handshake()


def test_unasked_is_unsent(
    backend: str, parameters: TlsParameters, server: ServerCertificate, client: ServerCertificate
) -> None:
    """A server that does not ask sees no certificate."""
    source = ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)
    pair = Pair(backend, dataclasses.replace(parameters, client_certificate=source), NAME, server).handshake()
    assert pair.server.getpeercert(binary_form=True) is None


@pytest.mark.parametrize("form", ["PKCS #8, encrypted", "PKCS #8, encrypted, DER", "traditional, encrypted"])
def test_passwords(
    backend: str, form: str, parameters: TlsParameters, client: ServerCertificate, server: ServerCertificate
) -> None:
    """A password may be text, bytes or asked for; it is asked for when a key is encrypted, and once."""
    asked = []

    def ask() -> str:
        asked.append(1)
        return PASSWORD.decode()

    encrypted = client.private_key(**FORMS[form])
    common = {"certificate": client.certificate_pem, "root": client.root_pem}
    for password in (PASSWORD, PASSWORD.decode(), ask):
        presented(backend, parameters, server, **common, key=encrypted, password=password)  # type: ignore[arg-type]
    assert asked == [1]
    presented(backend, parameters, server, **common, key=client.private_key_pem, password=ask)  # type: ignore[arg-type]
    assert asked == [1]


@dataclasses.dataclass
class Vault:
    """It is compared by value and has no hash."""

    password: bytes
    asked: int = 0

    def __call__(self) -> bytes:
        self.asked += 1
        return self.password


def test_who_is_asked_needs_no_hash(
    backend: str, parameters: TlsParameters, client: ServerCertificate, server: ServerCertificate
) -> None:
    """A callable that cannot be hashed is as good as another, and its context is found again."""
    vault = Vault(PASSWORD)
    source = {"certificate": client.certificate_pem, "key": client.private_key(password=PASSWORD), "password": vault}
    for _ in range(2):
        assert presented(backend, parameters, server, client.root_pem, **source) == client.der
    other = Vault(b"wrong")
    assert "the password is wrong" in refused(backend, parameters, **{**source, "password": other}).message
    assert (vault.asked, other.asked) == (1, 1)


def test_encrypted_key_under_the_label_of_a_plain_one_does_not_prompt(  # noqa: PLR0917 - fixtures
    backend: str,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
    client: ServerCertificate,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """OpenSSL decrypts an EncryptedPrivateKeyInfo also in a block PRIVATE KEY; without a password it would prompt."""
    key = client.private_key(password=PASSWORD).replace(b"ENCRYPTED ", b"")
    error = refused(backend, parameters, certificate=client.certificate_pem, key=key)
    assert error.message == 'private key file "<bytes>" is encrypted'
    root = clients.root_pem
    seen = presented(backend, parameters, server, root, certificate=client.certificate_pem, key=key, password=PASSWORD)
    assert seen == client.der
    assert "pass phrase" not in capfd.readouterr().err


def in_ber(der: bytes) -> bytes:
    """Return an element of elements without its length, whose end is marked (X.690 §8.1.3.6)."""
    return b"\x30\x80" + b"".join(each.encoded for each in elements(only_element(der).content)) + b"\0\0"


@pytest.mark.parametrize("label", ["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", None])
def test_encrypted_key_in_ber_does_not_prompt(
    backend: str,
    label: str | None,
    parameters: TlsParameters,
    client: ServerCertificate,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """OpenSSL reads BER where DER is required."""
    key = in_ber(client.private_key(password=PASSWORD, der=True))
    key = encode(label, key) if label is not None else key
    error = refused(backend, parameters, certificate=client.certificate_pem, key=key)
    assert error.message == 'private key file "<bytes>" is encrypted'
    assert "pass phrase" not in capfd.readouterr().err


@pytest.mark.parametrize("pem", [True, False])
def test_certificate_and_key_in_ber_are_presented_or_refused(  # noqa: PLR0917 - fixtures
    backend: str,
    pem: bool,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
    client: ServerCertificate,
) -> None:
    certificate, key = in_ber(client.der), in_ber(client.private_key(der=True))
    if pem:
        certificate, key = encode("CERTIFICATE", certificate), encode("PRIVATE KEY", key)
    if backend == "rustls":  # it requires DER
        assert "could not " in refused(backend, parameters, certificate=certificate, key=key).message
        return
    assert presented(backend, parameters, server, clients.root_pem, certificate=certificate, key=key) == client.der


def test_damaged_key_is_refused_with_its_line(
    backend: str, parameters: TlsParameters, client: ServerCertificate
) -> None:
    key = client.private_key_pem.replace(b"-----\n", b"-----\nComment: x\n\n", 1)
    error = refused(backend, parameters, certificate=client.certificate_pem, key=key)
    assert "damaged PEM, line 1" in error.message


@pytest.mark.parametrize("form", ["PKCS #8, encrypted", "PKCS #8, encrypted, DER", "traditional, encrypted"])
def test_nobody_is_asked_on_the_terminal(
    backend: str, form: str, parameters: TlsParameters, client: ServerCertificate, tmp_path: Path
) -> None:
    """An encrypted key without a password, or with a wrong one, is an error that tells no password."""
    path = put(tmp_path / "c.key", client.private_key(**FORMS[form]))
    for nothing in (None, "", b"", lambda: ""):
        error = refused(backend, parameters, certificate=client.certificate_pem, key=path, password=nothing)
        assert error.message == f'private key file "{path}" is encrypted'
        assert "sslpassword" in (error.remedy or "")
    error = refused(backend, parameters, certificate=client.certificate_pem, key=path, password="hunter2")
    assert error.message == f'could not load private key file "{path}": the password is wrong, or the key is damaged'
    assert "hunter2" not in repr(error) + str(error) + repr(error.__cause__)
    with pytest.raises(ZeroDivisionError):
        refused(backend, parameters, certificate=client.certificate_pem, key=path, password=lambda: 1 / 0)


@pytest.mark.parametrize("source", [{"certificate": "x", "key": "pkcs11:token=a"}, {"certificate": "PKCS11:token=a"}])
def test_tokens(backend: str, source: dict[str, str], parameters: TlsParameters) -> None:
    """Keys in tokens are refused with a reason."""
    assert "PKCS #11" in refused(backend, parameters, **source).message


def test_rotation(  # noqa: PLR0917 - fixtures
    backend: str,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
    client: ServerCertificate,
    tmp_path: Path,
) -> None:
    """A renewed certificate and key count at the next connection."""
    source = {"certificate": str(tmp_path / "c.crt"), "key": str(tmp_path / "c.key")}
    for each in (client, clients.issue(usage="client", common_name="next")):
        put(tmp_path / "c.crt", each.certificate_pem)
        put(tmp_path / "c.key", each.private_key_pem)
        assert presented(backend, parameters, server, clients.root_pem, **source) == each.der


def test_no_secret_is_shown(client: ServerCertificate) -> None:
    """Neither key nor password is in anything's `repr`."""
    from babar_tls.tls.client_identity import load_identity

    source = ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem, password="hunter2")
    shown = repr(source) + repr(TlsParameters(client_certificate=source)) + repr(load_identity(source))
    assert "hunter2" not in shown
    assert "PRIVATE KEY" not in shown


@pytest.mark.parametrize("memory", [True, False])
def test_no_file_and_no_descriptor_remains(  # noqa: PLR0917 - fixtures
    memory: bool,
    parameters: TlsParameters,
    server: ServerCertificate,
    client: ServerCertificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keys given as bytes are in memory, or for a moment in a file that its owner alone can read; nothing remains."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    modes = []
    if not memory:
        monkeypatch.setattr(memory_files, "_in_memory", lambda: None)
        genuine = memory_files.Path.unlink

        def unlink(path: Path, *, missing_ok: bool = False) -> None:
            modes.append(stat.S_IMODE(path.stat().st_mode))
            genuine(path, missing_ok=missing_ok)

        monkeypatch.setattr(memory_files.Path, "unlink", unlink)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208
    chosen = dataclasses.replace(parameters, alpn=("postgresql", str(memory)))
    source = {"certificate": client.certificate_pem, "key": client.private_key_pem}
    assert presented("stdlib", chosen, server, client.root_pem, **source) == client.der
    refused("stdlib", chosen, certificate=client.certificate_pem, key=server.private_key_pem)
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208
    assert after == before
    assert list(tmp_path.iterdir()) == []
    assert set(modes) == (set() if memory else {0o600})


NOW = datetime.now(UTC)
REJECTED: dict[str, tuple[Callable[[CertificateAuthority], ServerCertificate], str]] = {
    "another authority's": (
        lambda _: CertificateAuthority().issue(usage="client", common_name="app"),
        "unknown ca",
    ),
    "expired": (
        lambda ca: ca.issue(usage="client", common_name="app", not_after=NOW - timedelta(days=1)),
        "certificate expired",
    ),
    "a server's": (lambda ca: ca.issue("app"), "unsupported certificate"),
}


@pytest.mark.parametrize("version", TLS_VERSIONS)
@pytest.mark.parametrize("fault", REJECTED)
def test_rejection(  # noqa: PLR0917 - fixtures
    backend: str,
    version: str,
    fault: str,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
) -> None:
    """A server that does not like our certificate says why: in the handshake, or with TLS 1.3 when we read on."""
    make, alert = REJECTED[fault]
    client = make(clients)
    source = ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)
    chosen = dataclasses.replace(parameters, client_certificate=source)
    pair = Pair(backend, chosen, NAME, server, client_ca_pem=clients.root_pem, **only(version))
    with pytest.raises(ClientCertificateError) as caught:
        _ = pair.handshake(), pair.read()
    assert caught.value.message == f"SSL error: the server did not accept the client certificate ({alert})"


@pytest.mark.parametrize("serial_number", [b"\x00", b"\xff"])
def test_a_client_certificate_without_a_positive_serial_number_is_presented(
    backend: str, serial_number: bytes, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """The server judges the certificate; under ``python -W error`` too, where cryptography would not read it."""
    own = unusual_certificates.issue(authority, serial_number=serial_number)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = {"certificate": own.certificate_pem, "key": own.private_key_pem}
        server = authority.issue(NAME)
        assert presented(backend, parameters, server, authority.certificate_pem, **source) == own.der
