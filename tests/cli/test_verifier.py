"""`babar-tls verifier`: a real server accepts the verifiers, and no password is shown."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import Session
from babar_tls.cli import _password_input, _verifier_output, verifier
from babar_tls.cli._errors import UsageError
from babar_tls.crypto import implementation, scram_verifier
from babar_tls.errors import InvalidPassword

from .conftest import APP_PASSWORD, finish, spawn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from babar_tls.testing import PostgresServer

    from .conftest import Outcome

SHAPE = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/]+=*)\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=")
FAST = ("--iterations", "1")


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Replace standard input by bytes."""

    def put(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))

    return put


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Make standard input a terminal at which answers are typed; return the prompts."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def put(*answers: str | BaseException) -> list[str]:
        prompts: list[str] = []
        typed = iter(answers)

        def getpass(prompt: str) -> str:
            prompts.append(prompt)
            answer = next(typed)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setattr("getpass.getpass", getpass)
        monkeypatch.setattr("sys.stdin", Terminal())
        return prompts

    return put


def names(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def fits(line: str, password: bytes | str) -> bool:
    """Return True if the verifier is that of the password."""
    found = SHAPE.fullmatch(line)
    assert found is not None, line
    return scram_verifier(password, salt=b64decode(found[2]), iterations=int(found[1])) == line


# --- One password ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "password"),
    [
        (b"pencil", b"pencil"),
        (b"pencil\n", b"pencil"),
        (b"pencil\r\n", b"pencil"),
        (b"pencil\n\n", b"pencil"),
        (b"pencil\r\r\n", b"pencil\r"),
        (b" pencil \nsecond line\n", b" pencil "),
        ("I\u00adX \u2168".encode(), b"IX IX"),
        (b"\xff\xfe\n", b"\xff\xfe"),
    ],
)
def test_first_line_of_standard_input_is_the_password(
    cli: Callable[..., Outcome], feed: Callable[[bytes], None], data: bytes, password: bytes
) -> None:
    feed(data)
    outcome = cli("verifier")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("SCRAM-SHA-256$4096:")
    assert fits(outcome.out.rstrip("\n"), password)


def test_json_has_iterations_and_implementation(cli: Callable[..., Outcome], feed: Callable[[bytes], None]) -> None:
    feed(b"pencil\n")
    document = cli("verifier", "--json", "--iterations", "7").document
    assert fits(document.pop("verifier"), "pencil")
    assert document == {"iterations": 7, "implementation": implementation()}


def test_password_is_typed_twice(cli: Callable[..., Outcome], terminal: Callable[..., list[str]]) -> None:
    prompts = terminal("pass wörd", "pass wörd")
    outcome = cli("verifier", *FAST)
    assert fits(outcome.out.rstrip("\n"), "pass wörd")
    assert len(prompts) == 2


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([APP_PASSWORD, APP_PASSWORD + "x"], "the two passwords differ"),
        (["", ""], "the password is empty"),
        ([EOFError()], "no password was typed"),
        ([UnicodeDecodeError("utf-8", APP_PASSWORD.encode(), 0, 5, "bad")], "not in this terminal's encoding"),
        ([_password_input.getpass.GetPassWarning()], "would show the password"),
    ],
)
def test_unusable_terminal_input_is_refused(
    cli: Callable[..., Outcome], terminal: Callable[..., list[str]], answers: list[Any], message: str
) -> None:
    terminal(*answers)
    outcome = cli("verifier")
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b"\r\n", "is empty"), (b"a\0b\n", "contains a NUL"), (b"x" * (2 << 20), "longer than")],
)
def test_unusable_password_is_refused(
    cli: Callable[..., Outcome], feed: Callable[[bytes], None], data: bytes, message: str
) -> None:
    feed(data)
    outcome = cli("verifier")
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


@pytest.mark.parametrize("extra", [[], ["--json"]])
@pytest.mark.parametrize(
    "arguments", [[APP_PASSWORD], ["--password", APP_PASSWORD], [f"--password={APP_PASSWORD}"], ["--", APP_PASSWORD]]
)
def test_password_argument_is_refused_and_not_shown(
    cli: Callable[..., Outcome], arguments: list[str], extra: list[str]
) -> None:
    assert cli("verifier", *extra, *arguments).status == 2  # it looks for the password in both streams


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--iterations", "0"], "must be a number between 1 and 2147483647"),
        (["--iterations", "many"], "a number between"),
        (["--iterations", str(1 << 31)], "a number between"),
        (["--format", "csv"], "--format is for --bulk"),
        (["--out", "x"], "--out is for --bulk"),
        (["--bulk", "x", "--format", "xml"], "must be one of lines, csv"),
        (["--bulk", "x", "--output-format", "sql"], "needs the roles"),
        (["--bulk", "x", "--output-format", "csv"], "needs the roles"),
        (["--bulk", "x", "--json", "--output-format", "lines"], "--json and lines cannot share standard output"),
        (["--bulk", "x", "--force"], "--force is for --out"),
        (["--bulk", "/nonexistent/x"], 'cannot be read from "/nonexistent/x": No such file'),
        (["--bulk", "/"], 'cannot be read from "/": Is a directory'),
        (["--bulk", "\0"], ": invalid file name"),
    ],
)
def test_contradictory_options_are_refused(cli: Callable[..., Outcome], arguments: list[str], message: str) -> None:
    outcome = cli("verifier", *arguments)
    assert outcome.status == 2
    assert message in outcome.out + outcome.err


# --- Many ------------------------------------------------------------------------------------------------------------


def test_bulk_lines_keep_order_and_bytes(cli: Callable[..., Outcome], feed: Callable[[bytes], None]) -> None:
    passwords = [
        b"one",
        b" two ",
        "drei\u00a0".encode(),
        b"\xff",
        b"five,\"'",
        *(b"%d" % i for i in range(200)),
        b"last",
    ]
    feed(b"\xef\xbb\xbfone\r\n" + b"\n".join(passwords[1:]))
    outcome = cli("verifier", "--bulk", "-", *FAST)
    lines = outcome.out.splitlines()
    assert (outcome.status, outcome.err, len(lines)) == (0, "", len(passwords))
    assert all(map(fits, lines, passwords))
    assert len({line.split("$")[1] for line in lines}) == len(lines)  # each has a salt of its own


@pytest.mark.parametrize("header", [b"", b"role,password\n", b"\xef\xbb\xbfRole, Password\r\n"])
def test_bulk_csv_keeps_roles(cli: Callable[..., Outcome], feed: Callable[[bytes], None], header: bytes) -> None:
    """A header and blank lines are skipped."""
    feed(header + b'app,pencil\r\n\n"a ""b"", c","line 1\r\nline 2"\nx\xc3\xa4,\xff\xfe\n')
    outcome = cli("verifier", "--bulk", "-", "--format", "csv", *FAST)
    rows = list(csv.reader(io.StringIO(outcome.out)))
    assert rows[0] == ["role", "verifier"]
    assert [role for role, _ in rows[1:]] == ["app", 'a "b", c', "xä"]
    assert all(map(fits, [row[1] for row in rows[1:]], [b"pencil", b"line 1\r\nline 2", b"\xff\xfe"]))


def test_sql_quotes_roles_and_sets_the_encoding(cli: Callable[..., Outcome], feed: Callable[[bytes], None]) -> None:
    feed('app,a\n"x""; drop table y; --",b\nä,c\nö,d\n'.encode())
    lines = cli("verifier", "--bulk", "-", "--format", "csv", "--output-format", "sql", *FAST).out.splitlines()
    assert lines[0].startswith('ALTER ROLE "app" PASSWORD \'SCRAM-SHA-256$1:')
    assert lines[1].startswith('ALTER ROLE "x""; drop table y; --" PASSWORD \'')
    assert lines[2] == "SET client_encoding TO 'UTF8';"
    assert [line[:14] for line in lines[3:]] == ['ALTER ROLE "ä"', 'ALTER ROLE "ö"']
    assert all(line.endswith("';") for line in lines)


@pytest.mark.parametrize(("data", "count"), [(b"", 0), (b"app,a\n", 1), (b"app,a\nother,b\n", 2)])
def test_bulk_json_is_one_document(
    cli: Callable[..., Outcome], feed: Callable[[bytes], None], data: bytes, count: int
) -> None:
    feed(data)
    document = cli("verifier", "--bulk", "-", "--format", "csv", "--json", *FAST).document
    assert (document["iterations"], document["implementation"]) == (1, implementation())
    assert [item["role"] for item in document["verifiers"]] == ["app", "other"][:count]
    assert all(SHAPE.fullmatch(item["verifier"]) for item in document["verifiers"])


@pytest.mark.parametrize("source", ["file", "pipe"])
@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_invalid_rows_are_reported_without_content(
    cli: Callable[..., Outcome], feed: Callable[[bytes], None], tmp_path: Path, source: str, extra: list[str]
) -> None:
    """Nothing is written, and the exit status is 2."""
    secret = APP_PASSWORD.encode()
    rows = [
        b"role,password",
        b"app," + secret,
        b"app,",
        secret,
        b"app," + secret + b"," + secret,
        b"," + secret,
        b"\xff," + secret,
        b"app," + secret + b"\0",
        b'app,"' + secret + b'"x',
        b"app,x" + secret * (1 << 16),
        b"app," + secret,
        b'app,"' + secret,
    ]
    data = b"\n".join(rows) + b"\n"
    (tmp_path / "in").write_bytes(data)
    feed(data)
    name = str(tmp_path / "in") if source == "file" else "-"
    outcome = cli("verifier", "--bulk", name, "--format", "csv", "--out", str(tmp_path / "out"), *FAST, *extra)
    told = outcome.document["error"]["message"] if extra else outcome.err
    assert outcome.status == 2
    assert "9 invalid rows; nothing was written" in told
    for number in (3, 4, 5, 6, 7, 8, 9, 10, 12):
        assert f"line {number}: " in told
    assert "line 2:" not in told
    assert "line 11:" not in told
    assert names(tmp_path) == ["in"]


@pytest.mark.parametrize("output", [["--json"], []])
def test_invalid_last_row_leaves_standard_output_empty(
    cli: Callable[..., Outcome], feed: Callable[[bytes], None], output: list[str]
) -> None:
    feed(b"good\n" * 500 + b"\n")
    outcome = cli("verifier", "--bulk", "-", *FAST, *output)
    assert outcome.status == 2
    assert "SCRAM-SHA-256" not in outcome.out
    assert "line 501: the password is empty" in outcome.out + outcome.err


def test_only_first_invalid_rows_are_listed(cli: Callable[..., Outcome], feed: Callable[[bytes], None]) -> None:
    feed(b"\n" * 1000)
    outcome = cli("verifier", "--bulk", "-", *FAST)
    assert outcome.status == 2
    assert "1000 invalid rows" in outcome.err
    assert "and 990 more" in outcome.err
    assert len(outcome.err.splitlines()) < 20


def test_out_file_is_private(cli: Callable[..., Outcome], feed: Callable[[bytes], None], tmp_path: Path) -> None:
    path = tmp_path / "out"
    before = os.umask(0)
    try:
        feed(b"one\ntwo\n")
        outcome = cli("verifier", "--bulk", "-", "--out", str(path), *FAST)
    finally:
        os.umask(before)
    assert (outcome.status, outcome.out, outcome.err) == (0, f"2 verifiers in {path}\n", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert all(map(fits, path.read_text().splitlines(), ["one", "two"]))
    assert names(tmp_path) == ["out"]


def test_json_with_out_is_a_summary(cli: Callable[..., Outcome], feed: Callable[[bytes], None], tmp_path: Path) -> None:
    path = tmp_path / "out"
    feed(b"a,one\n")
    arguments = ("--bulk", "-", "--format", "csv", "--output-format", "json", "--out", str(path), "--json", *FAST)
    document = cli("verifier", *arguments).document
    facts = {"iterations": 1, "implementation": implementation()}
    assert document == {"verifiers": 1, "out": str(path), "format": "json", **facts}
    written = json.loads(path.read_text())
    assert fits(written.pop("verifiers")[0]["verifier"], "one")
    assert written == facts


def test_out_file_is_replaced_only_with_force(
    cli: Callable[..., Outcome], feed: Callable[[bytes], None], tmp_path: Path
) -> None:
    path = tmp_path / "out"
    path.write_text("precious")
    path.chmod(0o644)
    feed(b"one\n")
    outcome = cli("verifier", "--bulk", "-", "--out", str(path), *FAST)
    assert (outcome.status, path.read_text()) == (2, "precious")
    assert "exists already" in outcome.err
    assert "--force" in outcome.err
    feed(b"one\n\n")
    assert cli("verifier", "--bulk", "-", "--out", str(path), "--force", *FAST).status == 2
    assert path.read_text() == "precious"
    feed(b"one\n")
    assert cli("verifier", "--bulk", "-", "--out", str(path), "--force", *FAST).status == 0
    assert fits(path.read_text().rstrip("\n"), "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("links", [True, False])
def test_out_file_created_by_another_program_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    if not links:

        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    path = tmp_path / "out"
    with (  # noqa: PT012 - it is what happens in it
        pytest.raises(UsageError, match="exists already"),
        _verifier_output.destination(str(path), force=False) as file,
    ):
        file.write(b"ours")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    assert names(tmp_path) == ["out"]


def test_out_file_without_hard_links_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    with _verifier_output.destination(str(tmp_path / "out"), force=False) as file:
        file.write(b"ours")
    assert (tmp_path / "out").read_text() == "ours"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("where", ["link", "folder", "missing/out", "pipe"])
def test_out_must_be_a_regular_file(
    cli: Callable[..., Outcome], feed: Callable[[bytes], None], tmp_path: Path, where: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    os.mkfifo(tmp_path / "pipe")
    feed(b"one\n")
    outcome = cli("verifier", "--bulk", "-", "--out", str(tmp_path / where), "--force", *FAST)
    assert (outcome.status, outcome.out) == (2, "")
    assert names(tmp_path) == ["folder", "link", "pipe"]


def test_terminal_as_bulk_input_is_refused(cli: Callable[..., Outcome], terminal: Callable[..., list[str]]) -> None:
    terminal()
    outcome = cli("verifier", "--bulk", "-")
    assert outcome.status == 2
    assert "would show the passwords" in outcome.err


def test_passwords_are_derived_in_batches(
    cli: Callable[..., Outcome], feed: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def make(passwords: list[bytes], *, iterations: int) -> list[str]:
        sizes.append(len(passwords))
        return [f"{iterations}" for _ in passwords]

    monkeypatch.setattr("babar_tls.crypto.scram_verifiers", make)
    feed(b"x\n" * (3 * verifier._BATCH + 1))
    cli("verifier", "--bulk", "-", *FAST)
    assert sizes == [verifier._BATCH] * 3 + [1]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is in other units")
def test_memory_is_constant(tmp_path: Path) -> None:
    program = (
        "import resource, sys; import babar_tls.crypto as c; from babar_tls.cli import main\n"
        "c.scram_verifiers = lambda passwords, iterations: ['SCRAM-SHA-256$' + 'x' * 130] * len(passwords)\n"
        "assert main(sys.argv[1:]) == 0; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for rows in (1_000, 100_000):
        source = tmp_path / f"in{rows}"
        source.write_bytes(b"some password or other\n" * rows)
        arguments = ("verifier", "--bulk", str(source), "--out", str(tmp_path / f"out{rows}"))
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True
        )
        peaks.append(int(done.stdout.splitlines()[-1]))
    assert peaks[1] < peaks[0] + 4096  # KiB; all rows together would be 15 MB and more


@pytest.mark.parametrize("out", [True, False])
def test_ctrl_c_leaves_no_file(tmp_path: Path, *, out: bool) -> None:
    source = tmp_path / "in"
    os.mkfifo(source)
    arguments = ["--out", str(tmp_path / "out")] if out else []
    process = spawn("verifier", "--bulk", str(source), "--iterations", "100000", *arguments, TMPDIR=str(tmp_path))
    with source.open("wb") as pipe:  # waits for the reader
        pipe.write(b"password\n" * 7500)  # more than a pipe holds: it has begun
        pipe.flush()
        process.send_signal(signal.SIGINT)
        outcome = finish(process)
    assert (outcome.status, outcome.out, outcome.err) == (130, "", "interrupted\n")
    assert names(tmp_path) == ["in"]


def test_closed_output_ends_the_command_silently(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"password\n" * 10_000)
    with spawn("verifier", "--bulk", str(tmp_path / "in"), *FAST) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        status, _, err = finish(process)
    assert (status, err) == (141, "")


@pytest.mark.parametrize("size", ["file", "pipe"])
def test_progress_bar_is_on_standard_error(tmp_path: Path, size: str) -> None:
    import pty

    (tmp_path / "in").write_bytes(b"password\n" * 2000)
    control, terminal = pty.openpty()
    command = [sys.executable, "-m", "babar_tls", "verifier", "--iterations", "1000", "--bulk"]
    with (tmp_path / "in").open("rb") as stdin:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*command, str(tmp_path / "in") if size == "file" else "-"],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(terminal)
        out, _ = process.communicate(timeout=60)
    shown = os.read(control, 1 << 16)
    os.close(control)
    assert process.returncode == 0
    assert len(out.splitlines()) == 2000
    assert b"Verifiers" in shown


def test_rich_is_not_needed(
    cli: Callable[..., Outcome], feed: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    feed(b"one\n")
    assert fits(cli("verifier", "--bulk", "-", *FAST).out.rstrip("\n"), "one")


# --- A real server ---------------------------------------------------------------------------------------------------

#: Roles and passwords of every kind: SASLprep changes the third to the fifth, and cannot look at the last two.
ACCOUNTS: dict[str, bytes] = {
    "plain": b"pencil",
    'quo"ted; role': b"with 'quotes', \"commas\" and \\",
    "soft": "I\u00adX".encode(),
    "roman": "\u2168".encode(),
    "spáced": "a\u00a0b\u3000c".encode(),
    "prohibited": "\u0007\u00e4".encode(),
    "$dollar": b"pass$word:with,=colons",
    "latin": "pässwörd".encode("latin-1"),
    "binary": b"\xff\xfe\x80",
}


def log_in(server: PostgresServer, role: str, password: bytes) -> None:
    """Connect; a wrong password raises."""
    with Session.connect(server.config(user=role, password=password)) as session:
        assert session.query("select current_user") == [(role,)]
        assert session.security.server_authenticated


def test_server_accepts_bulk_sql(server: PostgresServer, tmp_path: Path) -> None:
    for role in ACCOUNTS:
        server.add_role(role, "another")
    source, out = tmp_path / "in.csv", tmp_path / "out.sql"
    with source.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file).writerows(
            [("role", "password")]
            + [(role, password.decode("utf-8", "surrogateescape")) for role, password in ACCOUNTS.items()]
        )
    arguments = ("--bulk", str(source), "--format", "csv", "--output-format", "sql", "--out", str(out))
    assert finish(spawn("verifier", *arguments)).status == 0
    statements = out.read_text(encoding="utf-8")
    server.sql(statements)
    stored = server.sql("select rolpassword from pg_authid where rolname <> 'postgres' order by 1").splitlines()
    assert set(re.findall(r"'(SCRAM[^']+)'", statements)) <= set(stored)
    for role, password in ACCOUNTS.items():
        log_in(server, role, password)
        with pytest.raises(InvalidPassword):
            log_in(server, role, password + b"x")


@pytest.mark.parametrize("password", [ACCOUNTS["soft"], ACCOUNTS["binary"]])
def test_libpq_can_log_in(server: PostgresServer, password: bytes) -> None:
    role = f"libpq_{password.hex()}"
    server.add_role(role, "another")
    made = subprocess.run(
        [sys.executable, "-m", "babar_tls", "verifier", "--iterations", "5000"],
        check=True,
        capture_output=True,
        input=password + b"\n",
    )
    server.sql(f"alter role {role} password '{made.stdout.decode().strip()}'")
    environment = {**os.environb, b"PGPASSWORD": password}
    command = [server.bindir / "psql", "-wXAtc", "select current_user", server.conninfo(user=role, password=None)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)  # noqa: S603 - psql
    assert (done.returncode, done.stdout) == (0, f"{role}\n"), done.stderr
