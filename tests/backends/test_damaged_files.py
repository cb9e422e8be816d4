"""Every backend uses files of certificates, keys and revocation lists completely, or refuses them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import CertificateError, ConfigError
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.testing import CertificateAuthority, ServerCertificate
from babar_tls.tls.connection import TlsConnection

from .pairs import Pair
from .test_client_certificates import presented, put, refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "db.example.com"
BOM = b"\xef\xbb\xbf"

#: Two blocks in one file, and whether both are read. Otherwise the file is refused.
JOINTS: dict[str, tuple[Callable[[bytes, bytes], bytes], bool]] = {
    "a BOM at the start": (lambda a, b: BOM + a + b, True),
    "a BOM at the joint": (lambda a, b: a + BOM + b, True),
    "a BOM behind a comment": (lambda a, b: b"# one\n" + a + b"\n" + BOM + b, True),
    "DOS lines": (lambda a, b: (a + b).replace(b"\n", b"\r\n"), True),
    "trailing blanks": (lambda a, b: (a + b).replace(b"\n", b" \t\n"), True),
    "text between": (lambda a, b: a + b"Subject: CN=b\n" + b, True),
    "no line feed at the end": (lambda a, b: a + b.rstrip(), True),
    "no line feed at the joint": (lambda a, b: a.rstrip() + b, False),
    "a BOM in place of a line feed": (lambda a, b: a.rstrip() + BOM + b, False),
    "the first cut off": (lambda a, b: a[:-30] + b, False),
    "the second cut off": (lambda a, b: a + b[: len(b) // 2], False),
    "the second without its last line": (lambda a, b: a + b[: b.index(b"-----END")], False),
    "the second without its first line": (lambda a, b: a + b.partition(b"\n")[2], False),
    "the second indented": (lambda a, b: a + b"  " + b.replace(b"\n", b"\n  "), False),
    "the second with CR lines": (lambda a, b: a + b.replace(b"\n", b"\r"), False),
    "the second in lower case": (lambda a, b: a + b.replace(b"BEGIN", b"begin").replace(b"END", b"end"), False),
    "the second with four dashes": (lambda a, b: a + b.replace(b"-----", b"----"), False),
    "text before the second": (lambda a, b: a + b"crl: " + b, False),
    "the second with a header": (lambda a, b: a + b.replace(b"-----\n", b"-----\nComment: x\n\n", 1), False),
    "the second not Base64": (lambda a, b: a + b.replace(b"\nMI", b"\n!I"), False),
    "the second in UTF-16": (lambda a, b: a + b.decode().encode("utf-16"), False),
}


def check_line(error: ConfigError, path: str) -> None:
    assert f'"{path}": damaged PEM, line ' in error.message


@pytest.fixture(scope="module")
def other() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="module")
def server(authority: CertificateAuthority) -> ServerCertificate:
    return authority.issue(NAME)


def older_list(authority: CertificateAuthority) -> bytes:
    """Return the older of two lists. OpenSSL uses the newer one."""
    return authority.revocation_list(last_update=datetime.now(UTC) - timedelta(days=9))


def reason(backend: str, parameters: TlsParameters, certificate: ServerCertificate) -> str | None:
    try:
        Pair(backend, parameters, NAME, certificate).handshake()
    except CertificateError as error:
        return error.reason
    return None


def wrap(backend: str, parameters: TlsParameters) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        TlsConnection(get_backend(backend), parameters, NAME)
    return caught.value


@pytest.mark.parametrize("joint", JOINTS)
def test_root_file_is_trusted_completely_or_refused(
    backend: str, joint: str, authority: CertificateAuthority, other: CertificateAuthority, tmp_path: Path
) -> None:
    join, good = JOINTS[joint]
    path = tmp_path / "root.crt"
    path.write_bytes(join(other.root_pem, authority.root_pem))
    parameters = TlsParameters(root_cert_path=str(path), default_roots=False)
    if not good:
        check_line(wrap(backend, parameters), str(path))
        return
    for issuer in (other, authority):
        assert reason(backend, parameters, issuer.issue(NAME)) is None


@pytest.mark.parametrize("joint", [joint for joint, (_, good) in JOINTS.items() if not good])
@pytest.mark.parametrize("named_by", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_default_roots_are_trusted_completely_or_refused(
    *,
    backend: str,
    named_by: str,
    joint: str,
    authority: CertificateAuthority,
    other: CertificateAuthority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "01234567.0"
    path.write_bytes(JOINTS[joint][0](other.root_pem, authority.root_pem))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(named_by, str(path if named_by == "SSL_CERT_FILE" else tmp_path))
    check_line(wrap(backend, TlsParameters()), str(path))


@pytest.mark.parametrize("joint", JOINTS)
@pytest.mark.parametrize("place", ["file", "directory"])
def test_revoked_certificate_is_refused_with_every_form_of_list(
    *,
    backend: str,
    joint: str,
    place: str,
    parameters: TlsParameters,
    authority: CertificateAuthority,
    server: ServerCertificate,
    tmp_path: Path,
) -> None:
    if not get_backend(backend).capabilities.crls:
        pytest.skip("this backend checks no revocation lists")
    join, good = JOINTS[joint]
    path = tmp_path / "01234567.r0"
    old, new = older_list(authority), authority.revocation_list([server])
    where = {"crl_path": str(path)} if place == "file" else {"crl_dir": str(tmp_path)}
    chosen = dataclasses.replace(parameters, **where)
    for first, second in ((old, new), (new, old)):
        path.write_bytes(join(first, second))
        if good:
            assert reason(backend, chosen, server) == "revoked"
        else:
            check_line(wrap(backend, chosen), str(path))


@pytest.mark.parametrize("content", ["DER", "empty", "a certificate"])
@pytest.mark.parametrize("place", ["file", "directory"])
def test_file_without_a_list_is_refused(
    *,
    backend: str,
    content: str,
    place: str,
    parameters: TlsParameters,
    authority: CertificateAuthority,
    tmp_path: Path,
) -> None:
    if not get_backend(backend).capabilities.crls:
        pytest.skip("this backend checks no revocation lists")
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    pem = authority.revocation_list()
    der = x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER)
    path = tmp_path / "01234567.r1"
    (tmp_path / "01234567.r0").write_bytes(pem)
    path.write_bytes({"DER": der, "empty": b"", "a certificate": authority.root_pem}[content])
    where = {"crl_path": str(path)} if place == "file" else {"crl_dir": str(tmp_path)}
    error = wrap(backend, dataclasses.replace(parameters, **where))
    assert f'list file "{path}": ' in error.message
    assert "is DER" in error.message or content != "DER"


@pytest.mark.parametrize("place", ["SSL_CERT_FILE", "SSL_CERT_DIR", "tls_root_cert_path"])
def test_list_in_a_root_file_or_directory_is_used(
    *,
    backend: str,
    place: str,
    authority: CertificateAuthority,
    server: ServerCertificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenSSL uses the lists in root files and in hashed directories of roots."""
    if not get_backend(backend).capabilities.crls:
        pytest.skip("this backend checks no revocation lists")
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "crl.pem").write_bytes(older_list(authority))
    roots = tmp_path / "roots"
    roots.mkdir()
    revoking = authority.revocation_list([server])
    (roots / "01234567.0").write_bytes(authority.root_pem + (b"" if place == "SSL_CERT_DIR" else revoking))
    (roots / "01234567.r0").write_bytes(revoking)
    parameters = TlsParameters(crl_path=str(tmp_path / "crl.pem"))
    if place == "tls_root_cert_path":
        parameters = dataclasses.replace(parameters, root_cert_path=str(roots / "01234567.0"), default_roots=False)
    else:
        monkeypatch.setenv(place, str(roots / "01234567.0" if place == "SSL_CERT_FILE" else roots))
    assert reason(backend, parameters, server) == "revoked"


@pytest.mark.parametrize("joint", JOINTS)
def test_client_certificate_is_sent_with_its_intermediates_or_refused(
    *,
    backend: str,
    joint: str,
    parameters: TlsParameters,
    server: ServerCertificate,
    clients: CertificateAuthority,
    tmp_path: Path,
) -> None:
    client = clients.intermediate().issue(usage="client", common_name="app")
    end = client.certificate_pem.index(b"-----BEGIN", 1)
    join, good = JOINTS[joint]
    path = put(tmp_path / "c.crt", join(client.certificate_pem[:end], client.certificate_pem[end:]))
    if good:
        seen = presented(backend, parameters, server, clients.root_pem, certificate=path, key=client.private_key_pem)
        assert seen == client.der
    else:
        check_line(refused(backend, parameters, certificate=path, key=client.private_key_pem), path)


@pytest.mark.parametrize("joint", JOINTS)
def test_key_file_is_read_completely_or_refused(
    *,
    backend: str,
    joint: str,
    parameters: TlsParameters,
    server: ServerCertificate,
    client: ServerCertificate,
    tmp_path: Path,
) -> None:
    """As in OpenSSL, the first key is used. The data after it must not be damaged."""
    join, good = JOINTS[joint]
    good = good or joint in ("the second with a header", "the second not Base64")  # which nobody looks at
    stranger = CertificateAuthority().issue("x").private_key_pem
    for second in (stranger, client.certificate_pem):
        path = put(tmp_path / "c.key", join(client.private_key_pem, second))
        source: dict[str, Any] = {"certificate": client.certificate_pem, "key": path}
        if good:
            assert presented(backend, parameters, server, client.root_pem, **source) == client.der
        else:
            check_line(refused(backend, parameters, **source), path)
    path = put(tmp_path / "c.key", client.certificate_pem + client.private_key_pem)
    source = {"certificate": client.certificate_pem, "key": path}
    assert presented(backend, parameters, server, client.root_pem, **source) == client.der


def test_second_key_is_not_used(
    backend: str, parameters: TlsParameters, client: ServerCertificate, tmp_path: Path
) -> None:
    path = put(tmp_path / "c.key", CertificateAuthority().issue("x").private_key_pem + client.private_key_pem)
    error = refused(backend, parameters, certificate=client.certificate_pem, key=path)
    assert "key values mismatch" in error.message


def trusted(authority: CertificateAuthority, path: Path, *arguments: str) -> str:
    """Write the root with trust settings, as ``openssl x509 -trustout`` does."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed")
    authority.write(path)
    made = subprocess.run(  # noqa: S603 - the test's own arguments
        [openssl, "x509", "-in", str(path), "-trustout", *arguments], capture_output=True, check=True
    ).stdout
    assert made.startswith(b"-----BEGIN TRUSTED CERTIFICATE-----")
    path.write_bytes(made)
    return str(path)


@pytest.mark.parametrize(
    ("settings", "expected"), [(["-addtrust", "serverAuth"], None), (["-addreject", "serverAuth"], "invalid")]
)
def test_trust_settings_are_applied_or_refused(
    *,
    backend: str,
    settings: list[str],
    expected: str | None,
    authority: CertificateAuthority,
    server: ServerCertificate,
    tmp_path: Path,
) -> None:
    path = trusted(authority, tmp_path / "root.crt", *settings)
    parameters = TlsParameters(root_cert_path=path, default_roots=False)
    if backend == "rustls":
        error = wrap(backend, parameters)
        assert "cannot apply the trust settings of the TRUSTED CERTIFICATE in line 1" in error.message
        assert f"openssl x509 -in {path}" in (error.remedy or "")
    else:
        assert reason(backend, parameters, server) == expected


def test_client_certificate_may_have_trust_settings(
    backend: str, parameters: TlsParameters, server: ServerCertificate, clients: CertificateAuthority, tmp_path: Path
) -> None:
    client = clients.intermediate().issue(usage="client", common_name="app")
    data = client.certificate_pem.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE")
    seen = presented(backend, parameters, server, clients.root_pem, certificate=data, key=client.private_key_pem)
    assert seen == client.der


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):
        made.bind(path.name)  # a long path would not fit into an address


NOT_FILES: dict[str, Callable[[Path], object]] = {
    "directory": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path, 0o600),
    "socket": make_socket,
    "zeros": lambda path: path.symlink_to("/dev/zero"),
    "null": lambda path: path.symlink_to("/dev/null"),
    "terminal": lambda path: path.symlink_to("/dev/ptmx"),
    "too large": lambda path: (path.touch(0o600), os.truncate(path, 1 << 40)),
}


@pytest.mark.skipif(os.name == "nt", reason="the file types are those of POSIX")
@pytest.mark.parametrize("kind", NOT_FILES)
@pytest.mark.parametrize(
    "field", ["root", "SSL_CERT_FILE", "SSL_CERT_DIR", "truststore", "crl", "crl_dir", "cert", "key"]
)
def test_path_of_a_device_or_pipe_is_refused_immediately(
    *,
    backend: str,
    field: str,
    kind: str,
    parameters: TlsParameters,
    client: ServerCertificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from babar_tls.tls.parameters import ClientCertificate

    if field.startswith("crl") and not get_backend(backend).capabilities.crls:
        pytest.skip("this backend checks no revocation lists")
    path = tmp_path / ("01234567.r0" if field == "crl_dir" else "01234567.0")
    NOT_FILES[kind](path)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    if field in ("SSL_CERT_FILE", "truststore"):
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        if field == "truststore":
            pytest.importorskip("truststore")
    elif field == "SSL_CERT_DIR":
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    chosen = {
        "root": lambda: TlsParameters(root_cert_path=str(path), default_roots=False),
        "truststore": lambda: TlsParameters(os_roots=backend == "stdlib"),
        "crl": lambda: dataclasses.replace(parameters, crl_path=str(path)),
        "crl_dir": lambda: dataclasses.replace(parameters, crl_dir=str(tmp_path)),
        "cert": lambda: dataclasses.replace(
            parameters, client_certificate=ClientCertificate(certificate=str(path), key=client.private_key_pem)
        ),
        "key": lambda: dataclasses.replace(
            parameters, client_certificate=ClientCertificate(certificate=client.certificate_pem, key=str(path))
        ),
    }.get(field, TlsParameters)()
    error = wrap(backend, chosen)
    assert f'"{path}"' in error.message
    assert ("too large" if kind == "too large" else "not a regular file") in error.message
