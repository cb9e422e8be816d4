"""The client certificate from every kind of file, and the errors for damaged files."""

from __future__ import annotations

import dataclasses
import gc
import os
import stat
import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import ClientCertificateError, ConfigError, PasswordUnavailable
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

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")


@pytest.fixture(scope="module")
def server(authority: CertificateAuthority) -> ServerCertificate:
    return authority.issue(NAME)


def put(path: Path, data: bytes, mode: int = 0o600) -> str:
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def presented(backend: str, parameters: TlsParameters, server: ServerCertificate, root: bytes, **source: Any) -> bytes:
    """Return the certificate that the server received, DER."""
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
def test_key_of_every_form_is_accepted(  # noqa: PLR0917 - fixtures
    backend: str,
    kind: Any,
    form: str,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
    tmp_path: Path,
) -> None:
    """RSA, EC and Ed25519 keys in PEM and DER, in PKCS #1, SEC 1 and PKCS #8, encrypted or not."""
    if kind == "ed25519" and "traditional" in form:
        pytest.skip("this combination does not exist")
    client = clients.issue(usage="client", common_name="app", key=kind)
    options = FORMS[form]
    certificate, key = client.certificate_pem, client.private_key(**options)
    password = {"password": options["password"]} if "password" in options else {}
    files = {"certificate": put(tmp_path / "c.crt", certificate, 0o644), "key": put(tmp_path / "c.key", key)}
    for source in (files, {"certificate": certificate, "key": key}):
        assert presented(backend, parameters, server, clients.root_pem, **source, **password) == client.der


def test_one_pem_file_may_contain_certificate_and_key(
    backend: str, parameters: TlsParameters, server: ServerCertificate, client: ServerCertificate, tmp_path: Path
) -> None:
    """In any order. The file needs the permissions of a key file."""
    for data in (client.private_key_pem + client.certificate_pem, client.certificate_pem + client.private_key_pem):
        path = put(tmp_path / "both.pem", data)
        for place in (path, data):
            assert presented(backend, parameters, server, client.root_pem, certificate=place) == client.der
    Path(path).chmod(0o644)
    error = refused(backend, parameters, certificate=path)
    assert f'private key file "{path}" has group or world access' in error.message


@pytest.mark.parametrize("password", [None, b"", PASSWORD])
@pytest.mark.parametrize("name", ["c.p12", "anything"])
def test_pkcs12_file_is_recognized_by_its_content(  # noqa: PLR0917 - fixtures
    backend: str,
    name: str,
    password: bytes | None,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
    tmp_path: Path,
) -> None:
    """Its key and its intermediates are used."""
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


def test_pkcs12_without_cryptography_is_refused_with_the_install_command(
    parameters: TlsParameters, client: ServerCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("cryptography.hazmat.primitives.serialization", "cryptography.hazmat.primitives"):
        monkeypatch.setitem(sys.modules, module, None)
    error = refused("stdlib", parameters, certificate=client.pkcs12())
    assert "PKCS #12 requires the package cryptography" in error.message
    assert "pip install 'babar-tls[openssl]'" in (error.remedy or "")


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_intermediates_are_sent(
    backend: str, version: str, parameters: TlsParameters, server: ServerCertificate, clients: CertificateAuthority
) -> None:
    """The server may have only the root certificate."""
    client = clients.intermediate().intermediate().issue(usage="client", common_name="app")
    chosen = dataclasses.replace(
        parameters, client_certificate=ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)
    )
    Pair(backend, chosen, NAME, server, client_ca_pem=clients.root_pem, **only(version)).handshake()


def test_client_certificate_is_not_sent_without_a_request(
    backend: str, parameters: TlsParameters, server: ServerCertificate, client: ServerCertificate
) -> None:
    source = ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)
    pair = Pair(backend, dataclasses.replace(parameters, client_certificate=source), NAME, server).handshake()
    assert pair.server.getpeercert(binary_form=True) is None


@pytest.mark.parametrize("form", ["PKCS #8, encrypted", "PKCS #8, encrypted, DER", "traditional, encrypted"])
def test_password_may_be_text_bytes_or_a_callable(
    backend: str, form: str, parameters: TlsParameters, client: ServerCertificate, server: ServerCertificate
) -> None:
    """The callable is called once, and only if the key is encrypted."""
    asked = []

    def ask() -> str:
        asked.append(1)
        return PASSWORD.decode()

    encrypted = client.private_key(**FORMS[form])
    common = {"certificate": client.certificate_pem, "root": client.root_pem}
    for password in (PASSWORD, PASSWORD.decode(), ask):
        presented(backend, parameters, server, **common, key=encrypted, password=password)
    assert asked == [1]
    presented(backend, parameters, server, **common, key=client.private_key_pem, password=ask)
    assert asked == [1]


@dataclasses.dataclass
class Vault:
    """A callable that is compared by value and has no hash."""

    password: bytes
    asked: int = 0

    def __call__(self) -> bytes:
        self.asked += 1
        return self.password


def test_password_callable_does_not_have_to_be_hashable(
    backend: str, parameters: TlsParameters, client: ServerCertificate, server: ServerCertificate
) -> None:
    """Its context is found in the cache."""
    vault = Vault(PASSWORD)
    source = {"certificate": client.certificate_pem, "key": client.private_key(password=PASSWORD), "password": vault}
    for _ in range(2):
        assert presented(backend, parameters, server, client.root_pem, **source) == client.der
    other = Vault(b"wrong")
    assert "the password is wrong" in refused(backend, parameters, **{**source, "password": other}).message
    assert (vault.asked, other.asked) == (1, 1)


def test_encrypted_key_with_the_label_of_a_plain_key_does_not_prompt(  # noqa: PLR0917 - fixtures
    backend: str,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
    client: ServerCertificate,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """OpenSSL also decrypts an EncryptedPrivateKeyInfo in a block PRIVATE KEY. Without a password it would prompt."""
    key = client.private_key(password=PASSWORD).replace(b"ENCRYPTED ", b"")
    error = refused(backend, parameters, certificate=client.certificate_pem, key=key)
    assert error.message == 'private key file "<bytes>" is encrypted'
    root = clients.root_pem
    seen = presented(backend, parameters, server, root, certificate=client.certificate_pem, key=key, password=PASSWORD)
    assert seen == client.der
    assert "pass phrase" not in capfd.readouterr().err


def in_ber(der: bytes) -> bytes:
    """Return a constructed element of indefinite length (X.690 §8.1.3.6)."""
    return b"\x30\x80" + b"".join(each.encoded for each in elements(only_element(der).content)) + b"\0\0"


@pytest.mark.parametrize("label", ["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", None])
def test_encrypted_key_in_ber_does_not_prompt(
    backend: str,
    label: str | None,
    parameters: TlsParameters,
    client: ServerCertificate,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """OpenSSL accepts BER where DER is required."""
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
def test_missing_or_wrong_password_is_an_error_without_a_prompt(
    backend: str, form: str, parameters: TlsParameters, client: ServerCertificate, tmp_path: Path
) -> None:
    """The error does not contain the password."""
    path = put(tmp_path / "c.key", client.private_key(**FORMS[form]))
    for nothing in (None, "", b"", lambda: ""):
        error = refused(backend, parameters, certificate=client.certificate_pem, key=path, password=nothing)
        assert error.message == f'private key file "{path}" is encrypted'
        assert "sslpassword" in (error.remedy or "")
    error = refused(backend, parameters, certificate=client.certificate_pem, key=path, password="hunter2")
    assert error.message == f'could not load private key file "{path}": the password is wrong, or the key is damaged'
    assert "hunter2" not in repr(error) + str(error) + repr(error.__cause__)
    with pytest.raises(PasswordUnavailable, match="tls_client_key_password raised ZeroDivisionError") as caught:
        refused(backend, parameters, certificate=client.certificate_pem, key=path, password=lambda: 1 / 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_password_with_a_surrogate_is_refused(
    backend: str, parameters: TlsParameters, client: ServerCertificate, tmp_path: Path
) -> None:
    """A UnicodeEncodeError would contain the password."""
    path = put(tmp_path / "c.key", client.private_key(**FORMS["PKCS #8, encrypted"]))
    for password in ("hunter2\udcff", lambda: "hunter2\ud800"):
        error = refused(backend, parameters, certificate=client.certificate_pem, key=path, password=password)
        assert error.message == "tls_client_key_password contains a lone surrogate"
        assert "exact bytes" in (error.remedy or "")
        assert error.__context__ is None


async def password_later() -> str:
    return "hunter2"


def test_coroutine_as_password_is_refused(
    backend: str, parameters: TlsParameters, client: ServerCertificate, tmp_path: Path
) -> None:
    """The coroutine is closed: pytest turns the warning of a coroutine that is never awaited into an error."""
    path = put(tmp_path / "c.key", client.private_key(**FORMS["PKCS #8, encrypted"]))
    error = refused(backend, parameters, certificate=client.certificate_pem, key=path, password=password_later)
    assert error.message == (
        f'private key file "{path}" is encrypted, and the callable in tls_client_key_password returned an awaitable, '
        "which cannot be awaited here"
    )
    assert error.remedy == "Set tls_client_key_password to a callable that returns str or bytes."
    gc.collect()


@pytest.mark.parametrize("source", [{"certificate": "x", "key": "pkcs11:token=a"}, {"certificate": "PKCS11:token=a"}])
def test_key_in_a_token_is_refused(backend: str, source: dict[str, str], parameters: TlsParameters) -> None:
    assert "PKCS #11" in refused(backend, parameters, **source).message


def test_renewed_certificate_is_used_by_the_next_connection(  # noqa: PLR0917 - fixtures
    backend: str,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
    client: ServerCertificate,
    tmp_path: Path,
) -> None:
    source = {"certificate": str(tmp_path / "c.crt"), "key": str(tmp_path / "c.key")}
    for each in (client, clients.issue(usage="client", common_name="next")):
        put(tmp_path / "c.crt", each.certificate_pem)
        put(tmp_path / "c.key", each.private_key_pem)
        assert presented(backend, parameters, server, clients.root_pem, **source) == each.der


def test_key_and_password_are_in_no_repr(client: ServerCertificate) -> None:
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
    """Keys given as bytes are in memory, or temporarily in a file that only its owner can read."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    modes = []
    if not memory:
        monkeypatch.setattr(memory_files, "_in_memory", lambda: None)
        genuine = memory_files.Path.unlink

        def unlink(path: Path, *, missing_ok: bool = False) -> None:
            modes.append(stat.S_IMODE(path.stat().st_mode))
            genuine(path, missing_ok=missing_ok)

        monkeypatch.setattr(memory_files.Path, "unlink", unlink)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208 - only the number of names is needed
    chosen = dataclasses.replace(parameters, alpn=("postgresql", str(memory)))
    source = {"certificate": client.certificate_pem, "key": client.private_key_pem}
    assert presented("stdlib", chosen, server, client.root_pem, **source) == client.der
    refused("stdlib", chosen, certificate=client.certificate_pem, key=server.private_key_pem)
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208 - only the number of names is needed
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
def test_rejected_client_certificate_is_reported_with_the_reason(  # noqa: PLR0917 - fixtures
    backend: str,
    version: str,
    fault: str,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
) -> None:
    """With TLS 1.2 by the handshake, with TLS 1.3 by the first read."""
    make, alert = REJECTED[fault]
    client = make(clients)
    source = ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)
    chosen = dataclasses.replace(parameters, client_certificate=source)
    pair = Pair(backend, chosen, NAME, server, client_ca_pem=clients.root_pem, **only(version))
    with pytest.raises(ClientCertificateError) as caught:
        _ = pair.handshake(), pair.read()
    assert caught.value.message == f"SSL error: the server did not accept the client certificate ({alert})"


@pytest.mark.parametrize("serial_number", [b"\x00", b"\xff"])
def test_client_certificate_without_a_positive_serial_number_is_presented(
    backend: str, serial_number: bytes, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """Even with ``python -W error``, with which cryptography does not load it."""
    own = unusual_certificates.issue(authority, serial_number=serial_number)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = {"certificate": own.certificate_pem, "key": own.private_key_pem}
        server = authority.issue(NAME)
        assert presented(backend, parameters, server, authority.certificate_pem, **source) == own.der
