"""The optional facts about a connection: its secrets, and whether the server requested a certificate."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from babar_tls import ConfigError
from babar_tls.backends import TlsParameters, get_backend, stdlib
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.parameters import ClientCertificate

from .pairs import TLS_VERSIONS, Pair, only

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.testing import CertificateAuthority, ServerCertificate

NAME = "db.example.com"
LINE = re.compile(r"#.*|[A-Z0-9_]+ [0-9a-f]{64} [0-9a-f]{64,128}")


@pytest.fixture(scope="module")
def certificate(authority: CertificateAuthority) -> ServerCertificate:
    return authority.issue(NAME)


def secrets_of(path: Path) -> list[str]:
    """Return the labels in a log, and check that each line is complete."""
    lines = path.read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    return [line.split()[0] for line in lines if not line.startswith("#")]


@pytest.mark.parametrize(
    ("version", "labels"),
    [
        ("TLSv1.2", {"CLIENT_RANDOM"}),
        (
            "TLSv1.3",
            {
                "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                "SERVER_TRAFFIC_SECRET_0",
                "CLIENT_TRAFFIC_SECRET_0",
                "EXPORTER_SECRET",
            },
        ),
    ],
)
def test_secrets_are_appended_to_a_file_that_only_its_owner_can_read(  # noqa: PLR0917 - fixtures
    backend: str,
    version: str,
    labels: set[str],
    parameters: TlsParameters,
    certificate: ServerCertificate,
    tmp_path: Path,
) -> None:
    """In the format of NSS."""
    path = tmp_path / "keys"
    chosen = dataclasses.replace(parameters, key_log_path=str(path))
    before = os.umask(0)
    try:
        TlsConnection(get_backend(backend), chosen, NAME)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for count in (1, 2):
        Pair(backend, chosen, NAME, certificate, **only(version)).handshake()
        found = secrets_of(path)
        assert set(found) == labels
        assert len(found) == count * len(labels)
    Pair(backend, parameters, NAME, certificate).handshake()
    assert secrets_of(path) == found


def test_log_that_was_moved_is_created_again(
    backend: str, parameters: TlsParameters, certificate: ServerCertificate, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    chosen = dataclasses.replace(parameters, key_log_path=str(path))
    Pair(backend, chosen, NAME, certificate).handshake()
    path.rename(tmp_path / "keys.1")
    Pair(backend, chosen, NAME, certificate).handshake()
    assert len(secrets_of(path)) == len(secrets_of(tmp_path / "keys.1")) == 5


def test_lines_of_simultaneous_connections_are_complete(
    backend: str, parameters: TlsParameters, certificate: ServerCertificate, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    chosen = dataclasses.replace(parameters, key_log_path=str(path))

    def connect() -> None:
        for _ in range(10):
            Pair(backend, chosen, NAME, certificate).handshake()

    threads = [threading.Thread(target=connect) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(secrets_of(path)) == 8 * 10 * 5


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".", "Is a directory"),
        ("none/keys", "No such file or directory"),
        ("pipe", "it is not a regular file"),
        ("read pipe", "it is not a regular file"),
        ("device", "it is not a regular file"),
    ],
)
def test_log_that_cannot_be_written_is_an_error_before_data_is_sent(
    backend: str, name: str, why: str, parameters: TlsParameters, tmp_path: Path
) -> None:
    """Also if opening it might block."""
    path = tmp_path / name
    reader = None
    if "pipe" in name:
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if "read" in name else None
    elif name == "device":
        path.symlink_to(os.devnull)
    try:
        with pytest.raises(ConfigError) as caught:
            TlsConnection(get_backend(backend), dataclasses.replace(parameters, key_log_path=str(path)), NAME)
    finally:
        if reader is not None:
            os.close(reader)
    assert caught.value.message == f'could not open SSL key logging file "{path}": {why}'


def test_full_disk_does_not_end_the_connection(
    backend: str, parameters: TlsParameters, certificate: ServerCertificate, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "keys"
    pair = Pair(backend, dataclasses.replace(parameters, key_log_path=str(path)), NAME, certificate)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        pair.handshake()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert secrets_of(path) == []


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_certificate_request_is_reported_for_each_connection(
    backend: str,
    version: str,
    parameters: TlsParameters,
    certificate: ServerCertificate,
    authority: CertificateAuthority,
) -> None:
    """Only if the parameters require it. A backend that cannot report it refuses."""
    tells = get_backend(backend).capabilities.reports_certificate_request
    assert tells is (backend != "rustls")
    client = authority.issue(usage="client", common_name="app")
    source = ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)
    parameters = dataclasses.replace(parameters, client_certificate=source)
    watching = dataclasses.replace(parameters, watch_certificate_request=True)
    if not tells:
        with pytest.raises(ConfigError, match="cannot report whether the server requests a client certificate"):
            Pair(backend, watching, NAME, certificate)
        watching = parameters
    for asks in (True, False, True):
        options = {"client_ca_pem": authority.root_pem} if asks else {}
        pair = Pair(backend, watching, NAME, certificate, **options, **only(version)).handshake()
        assert pair.client.facts.certificate_requested is (asks if tells else None)
        pair = Pair(backend, parameters, NAME, certificate, **options, **only(version)).handshake()
        assert pair.client.facts.certificate_requested is None


def test_certificate_requests_of_simultaneous_connections_are_separate(
    backend: str, parameters: TlsParameters, certificate: ServerCertificate, authority: CertificateAuthority
) -> None:
    if not get_backend(backend).capabilities.reports_certificate_request:
        pytest.skip("this backend does not report it")
    client = authority.issue(usage="client", common_name="app")
    source = ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)
    watching = dataclasses.replace(parameters, client_certificate=source, watch_certificate_request=True)
    wrong = []

    def connect(asks: bool) -> None:
        options = {"client_ca_pem": authority.root_pem} if asks else {}
        for _ in range(10):
            pair = Pair(backend, watching, NAME, certificate, **options).handshake()
            if pair.client.facts.certificate_requested is not asks:
                wrong.append(asks)

    threads = [threading.Thread(target=connect, args=(index % 2 == 0,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_python_without_message_callback_does_not_report_requests(
    parameters: TlsParameters, certificate: ServerCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdlib, "_WATCHES_REQUESTS", False)
    backend = stdlib.StdlibBackend()
    assert backend.capabilities.reports_certificate_request is False
    watching = dataclasses.replace(parameters, watch_certificate_request=True)
    with pytest.raises(ConfigError, match="cannot report whether the server requests a client certificate"):
        Pair(backend, watching, NAME, certificate)
