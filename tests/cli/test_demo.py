"""`babar-tls demo`: its output, and its failures."""

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

REFUSALS = {
    "wrong-ca": "CertificateError",
    "wrong-name": "CertificateError",
    "man-in-the-middle": "ChannelBindingRefused",
}


@pytest.fixture(scope="module")
def piped() -> Outcome:
    """Run the demo with its output in a pipe."""
    return finish(spawn("demo"))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return the JSON document of the demo."""
    outcome = finish(spawn("demo", "--json"))
    assert (outcome.status, outcome.err) == (0, "")
    return outcome.document


def test_demo_succeeds(piped: Outcome) -> None:
    assert (piped.status, piped.err) == (0, "")
    assert "All results are as expected" in piped.out


@pytest.mark.parametrize("backend", ["stdlib", "openssl"])
def test_table_of_each_backend_has_both_reports(piped: Outcome, backend: str) -> None:
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
    assert re.search(r"│ round trips +│ [56]: TCP, SSLRequest, TLS", table[0])


def test_round_trips_are_explained(piped: Outcome) -> None:
    assert "(HelloRetryRequest)" in " ".join(piped.out.split())


def test_refusals_are_shown_with_class_and_message(piped: Outcome) -> None:
    text = " ".join(piped.out.split())
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


def test_piped_output_has_100_columns_and_no_escape_sequences(piped: Outcome) -> None:
    assert "\x1b" not in piped.out
    assert "\r" not in piped.out
    assert max(map(len, piped.out.splitlines())) <= 100
    assert "…" not in piped.out


def test_80_columns_are_enough() -> None:
    outcome = finish(spawn("demo", COLUMNS="80"))
    assert outcome.status == 0
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "…" not in outcome.out
    assert "✓ SCRAM-SHA-256-PLUS" in outcome.out
    assert re.search(r"reported by server +│ ✓ TLSv1\.3", outcome.out)


def test_json_has_both_reports_of_each_connection(document: dict[str, Any]) -> None:
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


def test_json_has_timings_of_each_backend(document: dict[str, Any]) -> None:
    for item in document["timings"]["cases"]:
        assert 0 < item["tls"] < item["connect"] < 5
        assert 0 < item["auth"] < item["connect"]


def test_json_has_refusals_of_each_backend(document: dict[str, Any]) -> None:
    found = {(item["name"], item["backend"]): item["error"]["class"] for item in document["refusals"]}
    assert found == {(name, backend): kind for name, kind in REFUSALS.items() for backend in available_backends()}
    assert document["without_channel_binding"]["verified"] == "full"
    assert document["without_channel_binding"]["query_seen"] is True
    assert document["without_channel_binding"]["password_seen"] is False


def _servers(parent: int | None = None) -> list[str]:
    """Return the command lines of running servers in temporary folders, or only those started by `parent`."""
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
def test_ctrl_c_stops_the_server_and_removes_its_folder(moment: str, times: int) -> None:
    """The exit status is 130, without a traceback. A repeated Ctrl-C changes nothing."""
    with spawn("demo") as process:
        deadline = time.monotonic() + 30
        while not (commands := _servers(process.pid)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if moment == "running":
            assert process.stdout is not None
            assert process.stdout.readline() == "babar-tls\n"
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


def test_closed_output_stops_the_server() -> None:
    with spawn("demo") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "babar-tls\n"
        process.stdout.close()
        process.stdout = None
        status, _, err = finish(process)
    assert (status, err) == (141, "")


# What it would say if something were wrong ------------------------------------------------------------------------


@pytest.fixture
def small_demo(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the demo with the server of the other tests and without slow parts."""

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
    """The following tests change this demo."""
    assert cli("demo").status == 0


@pytest.mark.usefixtures("small_demo")
@pytest.mark.parametrize("as_json", [False, True])
def test_disagreement_is_a_failure(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    """The server reports another TLS version than the backend."""
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
    """A connection that must be refused is accepted, or fails for another reason."""
    monkeypatch.setattr(experiments, "try_connect", lambda config: error)
    outcome = cli("demo")
    assert outcome.status == 1
    assert "NOT refused as expected by stdlib" in outcome.out
    assert "man-in-the-middle was not refused" in outcome.out


@pytest.mark.usefixtures("small_demo")
def test_broken_backend_is_a_failure(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is shown."""

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
def test_spellings_of_cipher_suites_are_compared(ours: str | None, theirs: str | None, same: bool) -> None:
    """An unknown cipher suite does not agree with another one."""
    assert experiments.is_same_cipher(ours, theirs) is same


def test_server_that_does_not_start_is_an_error(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babar_tls.testing.postgres.find_binaries", _no_binaries)
    outcome = cli("demo")
    assert outcome.status == 1
    assert outcome.err.startswith(
        "error: the demo's server did not start: PostgreSQL cannot be run: no initdb in /nowhere"
    )
    assert "Traceback" not in outcome.err


def _no_binaries(*_: object) -> Path:
    raise FileNotFoundError("no initdb in /nowhere")
