"""The output of the commands with and without rich, at 80 columns and in a pipe: no identifier is broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from babar_tls import available_backends

from .conftest import APP_PASSWORD, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import PostgresServer

WITHOUT_RICH = "import sys; sys.modules['rich'] = None; from babar_tls.cli import main; sys.exit(main())"
WITH_RICH = "import sys; from babar_tls.cli import main; sys.exit(main())"
PROGRAMS = pytest.mark.parametrize("program", [WITHOUT_RICH, WITH_RICH], ids=["plain", "rich"])


def run(program: str, *arguments: str, width: str | None = "80", stdin: str = "") -> Outcome:
    """Run a command as a process with piped output, of which the environment states the width."""
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-W", "error", "-c", program, *arguments],
        input=stdin,
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={**environment, "PYTHONIOENCODING": "utf-8", **({"COLUMNS": width} if width else {})},
    )
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    assert APP_PASSWORD not in outcome.out + outcome.err
    assert "\x1b" not in outcome.out
    return outcome


def words(outcome: Outcome, status: int = 0) -> list[str]:
    """Return the words of the output of a command with this exit status and without an error."""
    assert (outcome.status, outcome.err) == (status, "")
    return re.sub("[│|]", " ", outcome.out).split()


@PROGRAMS
@pytest.mark.parametrize("backend", available_backends())
def test_connect_breaks_no_identifier_at_80_columns(
    conninfo: Callable[..., str], server: PostgresServer, program: str, backend: str
) -> None:
    outcome = run(program, "connect", conninfo(), "--backend", backend)
    assert max(map(len, outcome.out.splitlines())) <= 80
    found = words(outcome)
    assert {"tls-server-end-point,", "SCRAM-SHA-256-PLUS", str(server.root_cert_path)} <= set(found)
    assert any(re.fullmatch("TLS(13)?_AES_256_GCM_SHA384", word) for word in found)
    assert any(re.fullmatch("[0-9a-f]{64}", word) for word in found)


@PROGRAMS
def test_backends_break_no_identifier_at_80_columns(program: str) -> None:
    outcome = run(program, "backends")
    assert max(map(len, outcome.out.splitlines())) <= 80
    found = words(outcome)
    assert {*available_backends(), "tls-server-end-point", "secp256r1"} <= set(found)
    assert "rustls" not in available_backends() or "X25519MLKEM768" in found


@PROGRAMS
def test_each_backend_has_its_own_block_if_the_table_is_too_wide(program: str) -> None:
    outcome = run(program, "backends", width="50")
    for backend in available_backends():
        assert re.search(rf"^✓ {backend}$", outcome.out, re.MULTILINE)
    assert outcome.out.count("tls-server-end-point") == len(available_backends())


@PROGRAMS
def test_explain_breaks_no_identifier_at_80_columns(program: str) -> None:
    path = "/etc/a/very/long/path/to/the/certificates/of/every/authority/root.pem"
    outcome = run(program, "explain", f"host=db.example.com sslmode=verify-ca sslrootcert={path}")
    found = set(words(outcome, status=2))  # the file is missing
    assert {path, "sslmode=verify-full", "require_auth=scram-sha-256"} <= found


@PROGRAMS
def test_doctor_breaks_no_identifier_at_80_columns(program: str) -> None:
    path = "/etc/a/very/long/path/to/the/certificates/of/every/authority/root.pem"
    outcome = run(program, "doctor", f"host=127.0.0.1 port=1 sslmode=verify-full sslrootcert={path}")
    assert (outcome.status, outcome.err) == (3, "")
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert {path, "channel_binding=require.", "connection-refused:"} <= set(outcome.out.split())


def test_every_command_works_without_rich(conninfo: Callable[..., str]) -> None:
    assert run(WITHOUT_RICH, "connect", conninfo(), "--query", "select 1").out.endswith("1 row\n1\n\n")
    assert "No weakness found." in run(WITHOUT_RICH, "explain", "host=h channel_binding=require").out
    assert run(WITHOUT_RICH, "verifier", "--iterations", "1", stdin="pencil\n").out.startswith("SCRAM-SHA-256$1:")
    assert "usage:" in run(WITHOUT_RICH, "--help").out


@PROGRAMS
def test_piped_output_has_100_columns(program: str) -> None:
    lines = run(program, "backends", width=None).out.splitlines()
    assert 80 < max(map(len, lines)) <= 100


def test_plain_output_fits_the_encoding() -> None:
    program = WITHOUT_RICH.replace("from", "sys.stdout.reconfigure(encoding='ascii'); from", 1)
    outcome = run(program, "backends")
    assert (outcome.status, outcome.err) == (0, "")
    assert "+ stdlib" in outcome.out
