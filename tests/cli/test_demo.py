"""`babar-tls demo` runs as it is, and notices when something is not as it should be."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import SecurityReport, available_backends
from babar_tls.cli import _demo_experiments as experiments
from babar_tls.errors import IoError

from .conftest import Outcome, finish, spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import PostgresServer

ATTACKS = {
    "wrong-ca": "CertificateError",
    "wrong-name": "CertificateError",
    "man-in-the-middle": "ChannelBindingRefused",
}


@pytest.fixture(scope="module")
def piped() -> Outcome:
    """The demo, its output read by another program."""
    return finish(spawn("demo"))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The demo's JSON."""
    outcome = finish(spawn("demo", "--json"))
    assert (outcome.status, outcome.err) == (0, "")
    return outcome.document


def test_succeeds(piped: Outcome) -> None:
    """It ends with status 0, says so, and has nothing to complain about."""
    assert (piped.status, piped.err) == (0, "")
    assert "All results are as expected" in piped.out


@pytest.mark.parametrize("backend", ["stdlib", "openssl"])
def test_each_engine_is_shown(piped: Outcome, backend: str) -> None:
    """For each engine it shows TLS 1.3, channel-bound SCRAM, and that the server says the same."""
    if backend not in available_backends():
        pytest.skip(f"{backend} is not installed")
    table = re.search(rf"^{backend}: .*?^╰", piped.out, re.MULTILINE | re.DOTALL)
    assert table is not None
    row = r"│ {0} +│ {1} +│ {1} +│"
    assert re.search(row.format("TLS version", r"TLSv1\.3"), table[0])
    assert re.search(row.format("  reported by server", r"✓ TLSv1\.3, \d+ bits"), table[0])
    assert re.search(row.format("authentication", "✓ SCRAM-SHA-256-PLUS"), table[0])
    assert re.search(row.format("channel binding", "✓ tls-server-end-point"), table[0])
    assert "✗" not in table[0]


def test_refusals_are_shown(piped: Outcome) -> None:
    """Each refusal is shown with its class, the server's or the engine's words, and what to do."""
    text = " ".join(piped.out.replace("│", " ").split())
    for words in (
        "CertificateError (untrusted)",
        "CertificateError (hostname-mismatch)",
        "does not match host name",
        "ChannelBindingRefused",
        "channel binding check failed",
        "the attacker reads every query: select 'something confidential'",
        "the attacker does not read the password",
    ):
        assert words in text


def test_output_for_a_pipe(piped: Outcome) -> None:
    """Without a terminal there are no escape sequences, and no line is longer than 100 columns."""
    assert "\x1b" not in piped.out
    assert "\r" not in piped.out
    assert max(map(len, piped.out.splitlines())) <= 100
    assert "…" not in piped.out


def test_narrow_terminal() -> None:
    """On 80 columns nothing is cut off."""
    outcome = finish(spawn("demo", COLUMNS="80"))
    assert outcome.status == 0
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "…" not in outcome.out
    assert "✓ SCRAM-SHA-256-PLUS" in outcome.out
    assert re.search(r"reported by server +│ ✓ TLSv1\.3", outcome.out)


def test_json_connections(document: dict[str, Any]) -> None:
    """--json has both ends' accounts of a connection for each engine and style."""
    assert document["ok"] is True
    assert document["failures"] == []
    connections = document["connections"]
    cases = {(item["backend"], item["style"]) for item in connections}
    assert cases == {(backend, style) for backend in available_backends() for style in ("blocking", "asyncio")}
    for item in connections:
        assert item["agrees"] is True
        assert item["security"]["tls_version"] == item["server_says"]["version"] == "TLSv1.3"
        assert item["security"]["auth_method"] == "scram-sha-256-plus"
        assert item["security"]["server_name"] == "db.example.com"
        assert item["server_says"]["bits"] in (128, 256)


def test_json_timings(document: dict[str, Any]) -> None:
    """--json has seconds for each engine and style."""
    for item in document["timings"]["cases"]:
        assert 0 < item["tls"] < item["connect"] < 5
        assert 0 < item["auth"] < item["connect"]


def test_json_refusals(document: dict[str, Any]) -> None:
    """--json has the three refusals by every engine, and what happens without channel binding."""
    found = {(item["name"], item["backend"]): item["error"]["class"] for item in document["refusals"]}
    assert found == {(name, backend): kind for name, kind in ATTACKS.items() for backend in available_backends()}
    assert document["without_channel_binding"]["verified"] == "full"
    assert document["without_channel_binding"]["query_seen"] is True
    assert document["without_channel_binding"]["password_seen"] is False


def _servers(parent: int | None = None) -> list[str]:
    """Command lines of running servers in temporary folders, or of those alone that `parent` has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ppid = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if "/data" in command and "babar-pg-" in command and parent in (None, ppid):
            found.append(command)
    return found


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("moment", "times"), [("starting", 1), ("running", 3)])
def test_interrupt(moment: str, times: int) -> None:
    """Ctrl-C, also by the impatient, is status 130 and no traceback; neither the server nor its folder remains."""
    with spawn("demo") as process:
        deadline = time.monotonic() + 30
        while not (commands := _servers(process.pid)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if moment == "running":
            assert process.stdout is not None
            assert process.stdout.readline().startswith("╭")
        else:
            time.sleep(0.05)  # initdb has just begun, and takes longer than that
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        outcome = finish(process)
    assert outcome.status == 130
    assert outcome.err == "interrupted\n"
    folders = {match[0] for command in commands for match in re.finditer(r"/\S*/babar-pg-[^/\s]+", command)}
    assert folders
    assert not any(Path(folder).exists() for folder in folders)
    assert not any(folder in command for command in _servers() for folder in folders)


def test_reader_gone() -> None:
    """When the reader of the output goes away, the server is stopped all the same, without a word."""
    with spawn("demo") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("╭")
        process.stdout.close()
        process.stdout = None
        status, _, err = finish(process)
    assert (status, err) == (141, "")


# What it would say if something were wrong ------------------------------------------------------------------------


@pytest.fixture
def small_demo(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo without a server of its own and without what takes time."""

    def start(self: experiments.Demonstration) -> None:
        self.server, self.start_seconds = server, 0.0

    def config(**overrides: Any) -> Any:
        overrides.update(host=server.host, tls_server_name="localhost")
        return type(server).config(server, **overrides)

    monkeypatch.setattr(experiments.Demonstration, "start", start)
    monkeypatch.setattr(server, "config", config, raising=False)
    monkeypatch.setattr(experiments, "ROUNDS", 1)
    monkeypatch.setattr(experiments, "SERVER_NAME", "localhost")


@pytest.mark.usefixtures("small_demo")
def test_small_demo_succeeds(cli: Callable[..., Outcome]) -> None:
    """The demo that the next tests disturb is in order when it is not disturbed."""
    assert cli("demo").status == 0


@pytest.mark.usefixtures("small_demo")
@pytest.mark.parametrize("as_json", [False, True])
def test_disagreement_is_a_failure(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    """When the server tells of another TLS version than the engine, the demo says so and fails."""
    monkeypatch.setattr(experiments, "_SERVER_VIEW", "select true, 'TLSv1.2[/]', 'TLS_AES_256_GCM_SHA384', 256")
    outcome = cli("demo", *(["--json"] if as_json else []))
    assert outcome.status == 1
    if as_json:
        assert outcome.document["ok"] is False
        assert len(outcome.document["failures"]) == len(outcome.document["connections"])
    else:
        assert "✗ TLSv1.2[/], 256 bits" in outcome.out
        assert "do not agree" in outcome.out
        assert "All results are as expected" not in outcome.out


@pytest.mark.usefixtures("small_demo")
@pytest.mark.parametrize("error", [None, IoError("the network failed instead")])
def test_missing_refusal_is_a_failure(
    cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, error: IoError | None
) -> None:
    """When something is accepted that must be refused, or fails for another reason, the demo says so and fails."""
    monkeypatch.setattr(experiments, "try_connect", lambda config: error)
    outcome = cli("demo")
    assert outcome.status == 1
    assert "NOT refused as expected by stdlib" in outcome.out
    assert "man-in-the-middle was not refused" in outcome.out


@pytest.mark.usefixtures("small_demo")
def test_broken_engine_is_a_failure(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that cannot connect is shown with its error, and the demo fails."""

    def connect(config: object) -> tuple[float, SecurityReport, tuple[str | None, ...]]:
        raise IoError("this backend [bold]stalls\x1b[2J", remedy="Use another one.")

    monkeypatch.setattr(experiments, "_connect", connect)
    outcome = cli("demo")
    assert outcome.status == 1
    assert "✗ no connection" in outcome.out
    assert "this backend [bold]stalls\\x1b[2J" in outcome.out
    assert "Use another one." in outcome.out
    assert cli("demo", "--json").document["ok"] is False


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", True),
        ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", True),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", True),
        ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", False),
        (None, None, False),
    ],
)
def test_spellings_of_cipher_suites(ours: str | None, theirs: str | None, same: bool) -> None:
    """Two spellings of one cipher suite agree, two suites do not, and silence agrees with nothing."""
    assert experiments.is_same_cipher(ours, theirs) is same


def test_server_that_does_not_start(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot be started is an error with its own words, and no traceback."""
    monkeypatch.setattr("babar_tls.testing.postgres.find_binaries", _no_binaries)
    outcome = cli("demo")
    assert outcome.status == 1
    assert outcome.err.startswith(
        "error: the demo's server did not start: PostgreSQL cannot be run: no initdb in /nowhere"
    )
    assert "Traceback" not in outcome.err


def _no_binaries(*_: object) -> Path:
    raise FileNotFoundError("no initdb in /nowhere")
