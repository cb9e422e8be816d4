"""``babar-tls doctor``: the output in each format, and the exit status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from babar_tls.cli._doctor_statuses import STATUSES
from babar_tls.doctor.causes import Cause

from .conftest import APP_PASSWORD, finish, spawn

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.testing import PostgresServer


Cli = "Callable[..., Outcome]"
ConnInfo = "Callable[..., str]"


def test_working_connection_has_status_0(cli: Cli, conninfo: ConnInfo) -> None:
    outcome = cli("doctor", conninfo())
    assert outcome.status == 0
    assert "✓ TLS handshake" in outcome.out
    assert "SCRAM-SHA-256-PLUS" in outcome.out
    assert outcome.out.splitlines()[-1] == "✓ The connection works, with 2 warnings."


def test_wrong_password_has_the_status_of_authentication(cli: Cli, conninfo: ConnInfo) -> None:
    outcome = cli("doctor", conninfo(password="Wrong-plover-0815"))
    assert outcome.status == 6
    verdict, *remedy = outcome.out.split("\n\n")[-1].splitlines()
    assert verdict.startswith("✗ wrong-password: ")
    assert remedy
    assert all(line.startswith("  ") for line in remedy)
    assert "Wrong-plover" not in outcome.out + outcome.err


def test_cause_and_remedy_are_shown_at_their_stage(cli: Cli, conninfo: ConnInfo) -> None:
    outcome = cli("doctor", conninfo(host="db.example.org", hostaddr="127.0.0.1"))
    assert outcome.status == 5
    stage = outcome.out[outcome.out.index("✗ Hostname") :]
    assert "wrong-name" in stage
    assert "tls_server_name=localhost" in stage
    assert "- Authentication  skipped: " in stage


def test_options_replace_parameters(cli: Cli, conninfo: ConnInfo) -> None:
    outcome = cli("doctor", conninfo(host="db.example.org", hostaddr="127.0.0.1"), "--server-name", "localhost")
    assert outcome.status == 0


def test_document_is_the_diagnosis(cli: Cli, conninfo: ConnInfo) -> None:
    outcome = cli("doctor", conninfo(dbname="nothing"), "--json")
    assert outcome.status == 7
    assert outcome.document["cause"] == "missing-database"
    assert outcome.document["targets"][0]["stages"][0]["key"] == "dns"


def test_invalid_string_has_status_2(cli: Cli) -> None:
    outcome = cli("doctor", "host=localhost sslmode=nonsense", "--json")
    assert outcome.status == 2
    assert outcome.document["cause"] == "invalid-configuration"


def test_output_is_ascii_if_the_terminal_is(conninfo: ConnInfo) -> None:
    outcome = finish(spawn("doctor", conninfo(), PYTHONIOENCODING="ascii"))
    assert outcome.status == 0
    assert "+ TLS handshake" in outcome.out
    assert outcome.out.isascii()
    assert "?" not in outcome.out


def test_report_is_written_to_a_new_file(cli: Cli, conninfo: ConnInfo, tmp_path: Path) -> None:
    pytest.importorskip("babar_tls.doctor.html", reason="needs the HTML report")
    path = tmp_path / "report.html"
    outcome = cli("doctor", conninfo(), "--html", str(path))
    assert outcome.status == 0
    report = path.read_text(encoding="utf-8")
    assert report.startswith("<!")
    assert APP_PASSWORD not in report
    assert str(path) in outcome.out


def test_report_replaces_no_file(cli: Cli, conninfo: ConnInfo, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine")
    outcome = cli("doctor", conninfo(), "--html", str(path))
    assert outcome.status == 2
    assert path.read_text() == "mine"


def test_formats_exclude_each_other(cli: Cli) -> None:
    assert cli("doctor", "host=localhost", "--json", "--html", "x").status == 2


def test_password_file_is_read(cli: Cli, server: PostgresServer, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(APP_PASSWORD)
    conninfo = server.conninfo(user="app", dbname="postgres")
    assert cli("doctor", conninfo, "--password-file", str(path)).status == 0
    missing = cli("doctor", conninfo, "--password-file", str(tmp_path / "missing"), "--json")
    assert missing.status == 2
    assert json.loads(missing.out)["error"]["class"] == "ConfigError"


def test_every_cause_has_an_exit_status() -> None:
    assert STATUSES.keys() == set(Cause)
