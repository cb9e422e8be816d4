"""`babar-tls bench` measures a workload, and draws what it has measured."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.bench import WORKLOADS
from babar_tls.cli import _bench_all, _bench_kdf
from babar_tls.cli._terminal import Terminal

from .conftest import APP_PASSWORD, finish, spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Outcome

SHORT = ("--rounds", "2", "--iterations", "20")


def test_table(cli: Callable[..., Outcome]) -> None:
    """The table has hashlib, every kernel, the small things and the machine, and says how noisy it was."""
    outcome = cli("bench", "kdf", *SHORT)
    assert (outcome.status, outcome.err) == (0, "")
    for word in ("PBKDF2-HMAC-SHA-256, 20 iterations", "hashlib", "times hashlib", "noise:", "Python"):
        assert word in outcome.out
    assert "…" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 100


def test_json(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    """--json prints the document alone; with a file's name it writes it there, and prints the tables."""
    outcome = cli("bench", "kdf", *SHORT, "--json")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.document["workload"] == "kdf"
    assert outcome.document["parameters"]["rounds"] == 2
    path = tmp_path / "kdf.json"
    tables = cli("bench", "kdf", *SHORT, "--json", str(path))
    assert (tables.status, tables.err) == (0, "")
    assert "times hashlib" in tables.out
    assert json.loads(path.read_text()).keys() == outcome.document.keys()


def test_quick(cli: Callable[..., Outcome]) -> None:
    """--quick measures fewer rounds, unless their number is given."""
    assert cli("bench", "kdf", "--quick", "--iterations", "1", "--json").document["parameters"]["rounds"] == 20
    assert cli("bench", "kdf", "--quick", *SHORT, "--json").document["parameters"]["rounds"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which workload?"),
        (["scrypt"], "unknown workload 'scrypt'"),
        ([APP_PASSWORD], "no workload"),
        (["kdf", "kdf"], "too many arguments"),
        (["kdf", "--rounds", "0"], "a positive number is needed"),
        (["kdf", "--iterations", "some"], "a positive number is needed"),
        (["connect", "--rtt", "fast"], "milliseconds are needed"),
        (["connect", "--rtt", "1,-1"], "milliseconds are needed"),
        (["connect", "--rtt", "nan"], "milliseconds are needed"),
        (["storm", "--count", "0"], "a positive number is needed"),
    ],
)
def test_wrong_usage(cli: Callable[..., Outcome], arguments: list[str], message: str) -> None:
    """What cannot be measured is status 2; an unknown workload gets the list of those that there are."""
    outcome = cli("bench", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    if "workload" in message:
        assert f"Workloads: {', '.join(WORKLOADS)}, all." in outcome.err


def test_out_that_cannot_be_written(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    """A file that cannot be written is status 2."""
    outcome = cli("bench", "kdf", *SHORT, "--json", str(tmp_path))
    assert outcome.status == 2
    assert "cannot be written: Is a directory" in outcome.document["error"]["message"]


def test_without_rich(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables need rich and say so before anything is measured; --json needs none."""
    monkeypatch.setitem(sys.modules, "rich", None)
    outcome = cli("bench", "kdf")
    assert outcome.status == 2
    assert "pip install 'babar-tls[cli]'" in outcome.err
    assert cli("bench", "kdf", *SHORT, "--json").status == 0


def test_interrupt(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is status 130, and no traceback."""
    monkeypatch.setattr(_bench_kdf, "measure", lambda *_: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli("bench", "kdf", "--json") == (130, "", "interrupted\n")
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("connect", "--rounds", "1", "--rtt", "1"), ("x psycopg", "x floor", "Its phases", "RTT 1 ms")),
        (("handshake", "--rounds", "1"), ("by the certificate's key", "by the key-exchange group", "rsa4096")),
        (("stream", "--rounds", "1", "--megabytes", "1"), ("MB/s", "CPU s/GB", "rows of 1000 bytes")),
        (("storm", "--rounds", "1", "--count", "8", "--concurrency", "4"), ("stall, ms", "a loop with nothing to do")),
        (("roundtrips", "--rounds", "1"), ("round trips", "first connect", "agrees")),
        (("memory", "--rounds", "1", "--sessions", "4"), ("in RAM", "allocated by Python")),
        (("scale", "--count", "8"), ("first, ms", "growth, KB")),
    ],
)
def test_tables_of_each_workload(
    cli: Callable[..., Outcome], tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """Each workload's tables fit, nothing in them is cut off, and can be drawn again from its document."""
    path = tmp_path / "document.json"
    # In a process of its own: psqlpy's runtime keeps sockets until its process ends.
    outcome = finish(spawn("bench", *arguments, "--json", str(path)))
    assert (outcome.status, outcome.err) == (0, "")
    for word in (*words, "stdlib", "load"):
        assert word in outcome.out
    assert "…" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 100
    assert cli("bench", arguments[0], "--from", str(path)).out == outcome.out


def test_all(cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is measured in one go, and ends in the table of engines, with dashes for what is not known."""
    monkeypatch.setattr(_bench_all, "WORKLOADS", ("handshake", "kdf"))
    path = tmp_path / "all.json"
    outcome = cli("bench", "all", "--quick", "--iterations", "20", "--json", str(path))
    assert (outcome.status, outcome.err) == (0, "")
    for word in ("Which engine?", "what it can do", "rsa4096", "times hashlib"):
        assert word in outcome.out
    (connect,) = (line for line in outcome.out.splitlines() if "connect, ms" in line)
    assert "-" in connect
    assert json.loads(path.read_text())["documents"].keys() == {"handshake", "kdf"}


def test_compare(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    """--compare puts an older document beside the new one, and warns of what is not the same."""
    path = tmp_path / "old.json"
    assert cli("bench", "kdf", *SHORT, "--json", str(path)).status == 0
    outcome = cli("bench", "kdf", "--rounds", "1", "--iterations", "20", "--compare", str(path))
    assert (outcome.status, outcome.err) == (0, "")
    assert "Against the older document" in outcome.out
    assert "! parameter rounds is not the same: 2 then, 1 now" in outcome.out
    document = cli("bench", "kdf", "--from", str(path), "--compare", str(path), "--json").document
    assert document["comparison"]["warnings"] == []
    refused = cli("bench", "connect", "--compare", str(path))
    assert refused.status == 2
    assert "is a document of kdf, not connect" in refused.err


def test_plot(cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--plot writes pictures and names them; without matplotlib it says so before anything is measured."""
    pytest.importorskip("matplotlib")
    outcome = cli("bench", "kdf", *SHORT, "--plot", str(tmp_path / "pictures"))
    assert (outcome.status, outcome.err) == (0, "")
    assert {path.suffix for path in (tmp_path / "pictures").iterdir()} == {".png", ".svg"}
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused = cli("bench", "kdf", "--plot", str(tmp_path))
    assert refused.status == 2
    assert "pip install 'babar-tls[bench]'" in refused.err


def test_markdown(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    """--markdown replaces what stands between the marks, as often as one likes, and nothing else."""
    path = tmp_path / "page.md"
    page = "before\n<!-- bench kdf -->\nold\n<!-- end of kdf -->\nafter\n"
    path.write_text(page)
    for _ in range(2):
        assert cli("bench", "kdf", *SHORT, "--markdown", str(path)).status == 0
        text = path.read_text()
        assert text.startswith("before\n<!-- bench kdf -->\n")
        assert text.endswith("\n<!-- end of kdf -->\nafter\n")
        assert "old" not in text
        assert text.count("| one derivation |") == 1
    path.write_text("no marks")
    refused = cli("bench", "kdf", *SHORT, "--markdown", str(path))
    assert refused.status == 2
    assert "has no place for kdf" in refused.err
    assert path.read_text() == "no marks"


def test_page_has_a_place_for_everything() -> None:
    """The documentation has marks for every workload, each once."""
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    for name in (*WORKLOADS, "all"):
        assert text.count(f"<!-- bench {name} -->\n") == text.count(f"<!-- end of {name} -->\n") == 1


def test_a_server_of_ones_own(cli: Callable[..., Outcome], conninfo: Callable[..., str]) -> None:
    """--dsn measures another server; one that refuses us is a failure with that error's status."""
    outcome = finish(spawn("bench", "roundtrips", "--rounds", "1", "--dsn", conninfo(), "--json"))
    assert (outcome.status, outcome.err) == (0, "")
    assert APP_PASSWORD not in outcome.out
    assert cli("bench", "roundtrips", "--rounds", "1", "--dsn", conninfo(user="shut"), "--json").status == 6


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_terminals_of_every_encoding(encoding: str) -> None:
    """Output that cannot show box drawing gets ASCII."""
    outcome = finish(spawn("bench", "kdf", *SHORT, PYTHONIOENCODING=encoding))
    assert (outcome.status, outcome.err) == (0, "")
    assert ("│" in outcome.out) == (encoding == "utf-8")
    assert "?" not in outcome.out


@pytest.mark.parametrize(
    ("clock", "words"),
    [
        ({"hz": None, "source": None, "cpuinfo_hz": None}, "does not tell"),
        ({"hz": 3e9, "source": "cpuinfo", "cpuinfo_hz": 3e9}, "3.00 GHz: an estimate, the clock that /proc/cpuinfo"),
        ({"hz": 4e9, "source": "floor", "cpuinfo_hz": 3e9}, "4.00 GHz, an estimate: /proc/cpuinfo tells 3.00"),
        ({"hz": 4e9, "source": "floor", "cpuinfo_hz": None}, "4.00 GHz, an estimate: from the time measured"),
    ],
)
def test_the_clock_is_called_an_estimate(clock: dict[str, Any], words: str) -> None:
    """Cycles come with where their clock is from."""
    assert words in _bench_kdf._clock(clock)


def test_what_is_missing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A document from a machine that has nothing but hashlib is drawn too, and says what is missing."""
    times = {"min": 1e-3, "median": 2e-3}
    document = {
        "parameters": {"iterations": 4096, "rounds": 1, "bulk": 96},
        "machine": {"cpu": None, "logical_cpus": 1, "python": "P", "openssl": "O", "system": "S", "load": None},
        "load_after": None,
        "clock": {"hz": None, "source": None, "cpuinfo_hz": None},
        "floor": {"seconds": None},
        "derivations": [
            {
                "name": "hashlib",
                "what": "one",
                "kernel": None,
                "wall": times,
                "cpu": times,
                "times_hashlib": 1.0,
                "cycles_per_compression": None,
            }
        ],
        "call": None,
        "end_point": [],
        "certificate": None,
        "missing": [{"name": "compiled helper", "reason": "not built\x1b[2J"}],
        "targets": [{"name": "x", "at_least": 3.0, "measured": None, "met": None}],
    }
    _bench_kdf.draw(Terminal(width=100), document)
    out = capsys.readouterr().out
    assert "not measured: compiled helper: not built\\x1b[2J" in out
    assert "wanted" not in out
