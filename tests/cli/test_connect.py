"""Output, warnings and errors of `babar-tls connect`."""

from __future__ import annotations

import io
import socket
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import available_backends
from babar_tls.testing import ScriptedServer

from .conftest import APP_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from babar_tls.testing import PostgresServer, ScriptedPeer

    from .conftest import Outcome

ERROR_CLASSES = [
    ({"password": "wrong"}, [], 6, "InvalidPassword"),
    ({"password": None}, [], 6, "PasswordMissing"),
    ({"user": "shut"}, [], 6, "AuthRefused"),
    ({"sslmode": "disable", "channel_binding": "require"}, [], 2, "ConfigError"),
    ({"user": "old", "channel_binding": "require"}, [], 6, "ChannelBindingError"),
    ({}, ["--server-name", "db.wrong.example"], 5, "CertificateError"),
    ({"host": "host.invalid"}, [], 3, "Unreachable"),
    ({"dbname": "missing"}, [], 7, "ServerError"),
    ({"sslmode": "verify-most"}, [], 2, "ConfigError"),
    ({}, ["--root-cert", "/nonexistent/root.pem"], 2, "ConfigError"),
    ({}, ["--backend", "imaginary"], 2, "BackendUnavailable"),
    ({}, ["--timeout", "0"], 2, "UsageError"),
    ({}, ["--query", "selec"], 7, "ServerError"),
]


@pytest.mark.parametrize("backend", available_backends())
def test_table_shows_what_was_negotiated(
    cli: Callable[..., Outcome], conninfo: Callable[..., str], backend: str
) -> None:
    outcome = cli("connect", conninfo(), "--backend", backend)
    assert (outcome.status, outcome.err) == (0, "")
    for words in (
        "PostgreSQL 17",
        "TLSv1.3, TLS",
        "postgresql",
        f"{backend} (",
        "certificate chain and name 127.0.0.1 verified",
        "SHA-256 ",
        "SCRAM-SHA-256-PLUS",
        "bound with tls-server-end-point, sha256",
        "4096",
        "negotiate",
        "total",
        " ms",
    ):
        assert words in outcome.out
    assert "!" not in outcome.out, "nothing is weak, so nothing is warned of"
    assert max(map(len, outcome.out.splitlines())) <= 100


def test_json_has_the_report_and_rows(cli: Callable[..., Outcome], conninfo: Callable[..., str]) -> None:
    document = cli("connect", conninfo(), "--json", "--query", "select 1, null").document
    assert document["rows"] == [["1", None]]
    assert document["security"]["tls_version"] == "TLSv1.3"
    assert document["security"]["auth_method"] == "scram-sha-256-plus"
    assert document["security"]["channel_bound"] is True
    assert document["parameters"]["server_version"].startswith("17")
    assert document["warnings"] == []


@pytest.mark.parametrize(("changes", "arguments", "status", "kind"), ERROR_CLASSES)
@pytest.mark.parametrize("as_json", [False, True])
def test_failure_has_its_exit_status_and_message(  # noqa: PLR0917 - pytest passes them by name
    cli: Callable[..., Outcome],
    conninfo: Callable[..., str],
    changes: dict[str, Any],
    arguments: list[str],
    status: int,
    kind: str,
    as_json: bool,
) -> None:
    """An error has its class in JSON, and no traceback."""
    outcome = cli("connect", conninfo(**changes), *arguments, *(["--json"] if as_json else []))
    assert outcome.status == status
    if as_json:
        error = outcome.document["error"]
        assert (error["class"], error["exit_status"], outcome.err) == (kind, status, "")
        assert error["message"]
    else:
        assert outcome.out == ""
        assert outcome.err.startswith("error: ")
        assert "Traceback" not in outcome.err


def test_json_has_sqlstate_and_certificate_reason(cli: Callable[..., Outcome], conninfo: Callable[..., str]) -> None:
    refused = cli("connect", conninfo(password="wrong"), "--json").document["error"]
    assert refused["code"] == "28P01"
    rejected = cli("connect", conninfo(), "--server-name", "db.wrong.example", "--json").document["error"]
    assert rejected["reason"] == "hostname-mismatch"
    assert "remedy" in rejected


def test_remedy_is_on_a_separate_line(cli: Callable[..., Outcome], conninfo: Callable[..., str]) -> None:
    lines = cli("connect", conninfo(dbname="missing")).err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("  Check the database's name")


def test_remedies_for_an_unverified_server_lead_to_a_verified_one(
    cli: Callable[..., Outcome], conninfo: Callable[..., str]
) -> None:
    """No remedy on the way from sslmode=require to a verified connection advises less security."""
    unverified = " ".join(cli("connect", conninfo(sslmode="require", sslrootcert="")).out.split())
    assert "Use sslmode=verify-full with sslrootcert=system" in unverified
    missing = cli("connect", conninfo(sslmode="verify-full", sslrootcert="/nonexistent/root.crt"))
    assert 'root certificate file "/nonexistent/root.crt" does not exist' in missing.err
    assert "sslmode=verify-full sslrootcert=system" in missing.err
    assert "disable" not in missing.err


def test_server_without_tls_is_status_4(cli: Callable[..., Outcome], server_without_tls: PostgresServer) -> None:
    conninfo = server_without_tls.conninfo(sslmode="require")
    assert cli("connect", conninfo, "--json").document["error"]["class"] == "TlsRefused"
    assert cli("connect", conninfo).status == 4


def test_refused_connection_is_status_3(cli: Callable[..., Outcome], conninfo: Callable[..., str]) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        outcome = cli("connect", conninfo(port=reserved.getsockname()[1]))
    assert outcome.status == 3
    assert "Connection refused" in outcome.err


def test_silent_server_is_status_3_after_the_timeout(cli: Callable[..., Outcome]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        outcome = cli("connect", f"host=127.0.0.1 port={silent.getsockname()[1]} user=x", "--timeout", "0.2", "--json")
    assert (outcome.status, outcome.document["error"]["class"]) == (3, "TimeoutError")


def _speak_http(peer: ScriptedPeer) -> None:
    peer.receive()
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_http_server_is_status_8(cli: Callable[..., Outcome]) -> None:
    with ScriptedServer(_speak_http) as web:
        outcome = cli("connect", f"host={web.host} port={web.port} user=x sslmode=disable")
    assert outcome.status == 8


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"sslmode": "disable"}, "Nothing is encrypted"),
        ({"sslmode": "require", "sslrootcert": None}, "only channel binding"),
        ({"sslmode": "verify-ca"}, "name in the server's certificate is not verified"),
        ({"channel_binding": "disable"}, "not bound to the TLS channel"),
        (
            {"sslmode": "require", "sslrootcert": None, "channel_binding": "disable"},
            "man in the middle is not detected",
        ),
        ({"user": "old"}, "MD5 authentication is broken"),
        ({"user": "clear"}, "The password itself was sent"),
        ({"user": "free", "password": None}, "The server required no password"),
    ],
)
def test_weakness_is_in_the_output(  # noqa: PLR0917 - pytest passes them by name
    cli: Callable[..., Outcome],
    conninfo: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changes: dict[str, Any],
    warning: str,
) -> None:
    """The output and the JSON document have the warning."""
    monkeypatch.setenv("HOME", str(tmp_path))  # where a root certificate would change what sslmode=require means
    outcome = cli("connect", conninfo(**changes))
    assert outcome.status == 0
    assert warning in " ".join(outcome.out.split())
    assert any(warning in text for text in cli("connect", conninfo(**changes), "--json").document["warnings"])


def test_local_socket_without_tls_is_not_weak(
    cli: Callable[..., Outcome], server: PostgresServer, conninfo: Callable[..., str]
) -> None:
    outcome = cli("connect", conninfo(host=str(server.socket_dir), sslmode=None, sslrootcert=None))
    assert outcome.status == 0
    assert "none, on a local socket" in outcome.out
    assert "!" not in outcome.out


def test_root_cert_option_replaces_the_trust_store(
    cli: Callable[..., Outcome], server: PostgresServer, conninfo: Callable[..., str]
) -> None:
    """Even sslmode=require verifies the chain with a root file, as in libpq."""
    root = str(server.root_cert_path)
    options = ("--root-cert", root, "--json")
    bare = cli("connect", conninfo(sslmode=None, sslrootcert=None), *options)
    assert bare.document["security"]["verified"] == "full"
    required = cli("connect", conninfo(sslmode="require", sslrootcert=None), *options)
    assert required.document["security"]["verified"] == "ca"


def test_query_shows_rows_and_null(cli: Callable[..., Outcome], conninfo: Callable[..., str]) -> None:
    out = cli("connect", conninfo(), "--query", "select 'one', null union all select 'two', 'x'").out
    assert "2 rows" in out
    assert "(null)" in out
    assert "one" in out


HOSTILE = "select E'\\x1b]0;owned\\x07\\x1b[31mred\\x1b[0m[red]\\u202etxt[/red][/]:smile:'"


def test_control_characters_in_rows_are_escaped(cli: Callable[..., Outcome], conninfo: Callable[..., str]) -> None:
    """Markup in the rows is shown unchanged."""
    outcome = cli("connect", conninfo(), "--query", HOSTILE)
    assert outcome.status == 0
    for char in "\x1b\x07\u202e":
        assert char not in outcome.out
    assert "\\x1b]0;owned\\x07\\x1b[31mred\\x1b[0m[red]\\u202etxt[/red][/]:smile:" in outcome.out


@pytest.mark.parametrize("as_json", [False, True])
def test_control_characters_in_errors_are_escaped(
    cli: Callable[..., Outcome], conninfo: Callable[..., str], as_json: bool
) -> None:
    outcome = cli("connect", conninfo(dbname="a\x1b[2J\x9b1m[bold]\u202eb"), *(["--json"] if as_json else []))
    assert outcome.status == 7
    text = outcome.document["error"]["message"] if as_json else outcome.err
    assert not {"\x1b", "\x9b", "\u202e"} & set(outcome.out + outcome.err)
    assert "a\\x1b[2J\\x9b1m[bold]\\u202eb" in text


def test_password_is_read_from_a_file(
    cli: Callable[..., Outcome], conninfo: Callable[..., str], tmp_path: Path
) -> None:
    """A file without a first line, and a missing file, are errors."""
    path = tmp_path / "password"
    path.write_text(f"{APP_PASSWORD}\nmore\n")
    target = conninfo(password=None)
    assert cli("connect", target, "--password-file", str(path)).status == 0
    path.write_text("\n")
    outcome = cli("connect", target, "--password-file", str(path))
    assert (outcome.status, "has no first line" in outcome.err) == (2, True)
    outcome = cli("connect", target, "--password-file", str(tmp_path / "none"))
    assert (outcome.status, "could not read password file" in outcome.err) == (2, True)


def test_password_is_read_from_standard_input(
    cli: Callable[..., Outcome],
    conninfo: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(f"{APP_PASSWORD}\r\n".encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert cli("connect", conninfo(password=None), "--password-file", "-").status == 0
