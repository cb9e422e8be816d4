"""Mistakes of new users: the error names what is wrong, and the remedy fits the command line."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from .conftest import finish, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Outcome

    Cli = Callable[..., Outcome]
    ConnInfo = Callable[..., str]


@contextmanager
def http_server() -> Iterator[int]:
    """Respond to each connection as an HTTP server does; the value is the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@pytest.mark.parametrize("command", ["connect", "doctor"])
@pytest.mark.parametrize("options", ["sslmode=disable", "sslmode=verify-full", "sslnegotiation=direct"])
def test_http_server_is_status_8(cli: Cli, command: str, options: str) -> None:
    with http_server() as port:
        string = f"host=127.0.0.1 port={port} user=app password=x sslrootcert=system"
        outcome = cli(
            command,
            f"{string} {options}" if "disable" not in options else string.replace("sslrootcert=system", options),
        )
    assert outcome.status == 8
    assert "an HTTP server" in outcome.out + outcome.err


def test_doctor_names_the_sources_of_a_password(cli: Cli, conninfo: ConnInfo) -> None:
    outcome = cli("doctor", conninfo(password=None, passfile="/nonexistent"))
    assert outcome.status == 6
    for source in ("--password-file", "PGPASSWORD", "~/.pgpass"):
        assert source in outcome.out
    assert "password=" not in outcome.out


@pytest.mark.parametrize("command", ["connect", "doctor"])
@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_invalid_timeout_names_the_option(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str, seconds: str
) -> None:
    monkeypatch.setenv("PGPASSWORD", "Xyzzy-plugh-4711")
    outcome = cli(command, "host=localhost", f"--timeout={seconds}")
    assert outcome.status == 2
    assert "--timeout" in outcome.err
    assert "connect_timeout" not in outcome.err
    assert "PGPASSWORD" not in outcome.err


def test_sources_of_other_parameters_are_not_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "Xyzzy-plugh-4711")
    monkeypatch.setenv("PGUSER", "app")
    error = cli("connect", "host=localhost port=99999").err
    assert "port" in error
    assert "PG" not in error


def test_wrong_server_name_names_the_option(cli: Cli, conninfo: ConnInfo) -> None:
    error = cli("connect", conninfo(), "--server-name", "db.wrong.example").err
    assert "--server-name" in error
    assert "tls_server_name" not in error
    assert "Remove tls_server_name (--server-name)" in cli("doctor", conninfo(), "--server-name", "other.example").out


def test_copy_is_refused(cli: Cli, conninfo: ConnInfo) -> None:
    outcome = cli("connect", conninfo(), "--query", "copy (select 1) to stdout")
    assert outcome.status == 2
    assert "COPY" in outcome.err


def test_error_of_a_query_is_named_once(cli: Cli, conninfo: ConnInfo) -> None:
    outcome = cli("connect", conninfo(), "--query", "select 1/0")
    assert outcome.status == 7
    assert outcome.err.startswith("error: division by zero\n")


def test_report_is_checked_before_the_diagnosis(cli: Cli, tmp_path: Path) -> None:
    path = str(tmp_path / "missing" / "r.html")
    outcome = cli("doctor", "host=localhost", "--html", path)
    assert (outcome.status, outcome.out) == (2, "")
    assert path in outcome.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110 - one name
@pytest.mark.parametrize(
    "arguments",
    [
        ("backends",),
        ("backends", "--json"),
        ("backends", "--markdown"),
        ("explain", "host=localhost"),
        ("doctor", "host=/nonexistent"),
        ("verifier",),
        ("completion", "bash"),
        ("man",),
        ("--help",),
        ("--version",),
        ("connect", "port=x", "--json"),
    ],
)
def test_full_disk_is_one_line(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        process = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", "import sys; from babar_tls.cli import main; sys.exit(main())", *arguments],
            input="Xyzzy\n",
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    if "port=x" in arguments:
        assert (process.returncode, process.stderr) == (2, "")
        return
    assert process.returncode == 1
    assert process.stderr == "error: standard output cannot be written: No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="needs a shell that can close descriptors")
@pytest.mark.parametrize(
    ("arguments", "closed", "status"),
    [
        (("backends",), ">&-", 0),
        (("backends", "--json"), ">&- 2>&-", 0),
        (("explain", "host=/socket"), "<&- >&- 2>&-", 0),
        (("connect", "host=127.0.0.1 port=x"), ">&-", 2),
        (("connect", "host=127.0.0.1 port=x", "--json"), ">&- 2>&-", 2),
        (("doctor", "host=/nonexistent"), ">&- 2>&-", 3),
    ],
)
def test_closed_output_is_no_failure(arguments: tuple[str, ...], closed: str, status: int) -> None:
    program = [sys.executable, "-c", "import sys; from babar_tls.cli import main; sys.exit(main())", *arguments]
    process = subprocess.run(  # noqa: S603 - our own interpreter
        ["/bin/sh", "-c", f'"$@" {closed}', "sh", *program], capture_output=True, text=True, check=False, timeout=60
    )
    assert process.returncode == status
    assert "Traceback" not in process.stderr


def test_ellipsis_is_ascii_if_the_terminal_is() -> None:
    outcome = finish(spawn("connect", "--help", PYTHONIOENCODING="ascii"))
    assert outcome.out.isascii()
    assert "?" not in finish(spawn("verifier", "--help", PYTHONIOENCODING="ascii")).out
    assert "ALTER ROLE ... PASSWORD" in finish(spawn("verifier", "--help", PYTHONIOENCODING="ascii", COLUMNS="200")).out


@pytest.mark.parametrize("text", ["localhost", "localhost:5432"])
def test_host_without_keyword_has_a_remedy(cli: Cli, text: str) -> None:
    outcome = cli("connect", text)
    assert outcome.status == 2
    assert "host=" in outcome.err


@pytest.mark.parametrize("url", ["jdbc:postgresql://h/d", "postgresql+asyncpg://h/d"])
@pytest.mark.parametrize("command", ["connect", "doctor"])
def test_url_of_another_library_names_explain(cli: Cli, command: str, url: str) -> None:
    outcome = cli(command, url)
    assert outcome.status == 2
    assert "babar-tls explain" in " ".join((outcome.out + outcome.err).split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["connect", "--jsn"], "Did you mean --json? Try: babar-tls connect --help"),
        (["conect"], "Did you mean connect?"),
        (["backends", "foo"], "Try: babar-tls backends --help"),
        (["connect", "host=a", "user=b"], "A connection string is one argument"),
        (["--vrsion"], "Did you mean --version? Try: babar-tls --help"),
    ],
)
def test_near_spelling_and_the_help_of_the_command_are_named(cli: Cli, arguments: list[str], words: str) -> None:
    error = cli(*arguments).err
    assert words in error
    assert arguments[0] != "backends" or "connection string" not in error


def test_remedies_have_no_broken_durations(cli: Cli, conninfo: ConnInfo) -> None:
    out = cli("doctor", conninfo()).out
    assert not re.search(r"\d\n +(?:ms|s)\b", out)


def test_first_tcp_phase_includes_no_import(conninfo: ConnInfo) -> None:
    """Nothing is imported between the beginning of the connect and its end."""
    program = (
        "import sys; from babar_tls.session import Session; connect = Session.connect\n"
        "def watched(config):\n"
        "    before = set(sys.modules); session = connect(config)\n"
        "    print(sorted(set(sys.modules) - before), file=sys.stderr); return session\n"
        "Session.connect = watched\n"
        "from babar_tls.cli import main; sys.exit(main())"
    )
    process = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", program, "connect", conninfo()], capture_output=True, text=True, check=True, timeout=60
    )
    assert process.stderr == "[]\n"
