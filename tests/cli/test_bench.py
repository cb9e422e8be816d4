"""The command `babar-tls bench`."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.bench.workloads import all as all_workloads
from babar_tls.bench.workloads import kdf
from babar_tls.bench.workloads.all import WORKLOADS
from babar_tls.cli._benchmark_view import show

from .conftest import APP_PASSWORD, finish, spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Outcome

SHORT = ("--rounds", "2", "--iterations", "20")


def test_tables_of_kdf(cli: Callable[..., Outcome]) -> None:
    outcome = cli("bench", "kdf", *SHORT)
    assert (outcome.status, outcome.err) == (0, "")
    for word in ("PBKDF2-HMAC-SHA-256, 20 iterations", "hashlib", "x hashlib", "Noise:", "Short operations", "Python"):
        assert word in outcome.out
    assert "…" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 100


def test_json_prints_or_writes_the_document(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = cli("bench", "kdf", *SHORT, "--json")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.document["workload"] == "kdf"
    assert outcome.document["parameters"]["rounds"] == 2
    path = tmp_path / "kdf.json"
    tables = cli("bench", "kdf", *SHORT, "--json", str(path))
    assert (tables.status, tables.err) == (0, "")
    assert "x hashlib" in tables.out
    assert json.loads(path.read_text()).keys() == outcome.document.keys()


def test_workload_of_a_document_need_not_be_named(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "kdf.json"
    assert cli("bench", "kdf", *SHORT, "--json", str(path)).status == 0
    outcome = cli("bench", "--from", str(path), "--json")
    assert outcome.status == 0
    assert outcome.document["workload"] == "kdf"


def test_quick_has_few_rounds_unless_their_number_is_given(cli: Callable[..., Outcome]) -> None:
    assert cli("bench", "kdf", "--quick", "--iterations", "1", "--json").document["parameters"]["rounds"] == 20
    assert cli("bench", "kdf", "--quick", *SHORT, "--json").document["parameters"]["rounds"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing workload"),
        (["scrypt"], "unknown workload 'scrypt'"),
        ([APP_PASSWORD], "unknown workload"),
        (["kdf", "kdf"], "too many arguments"),
        (["kdf", "--rounds", "0"], "a positive number is needed"),
        (["kdf", "--iterations", "some"], "a positive number is needed"),
        (["connect", "--rtt", "fast"], "milliseconds are needed"),
        (["connect", "--rtt", "1,-1"], "milliseconds are needed"),
        (["connect", "--rtt", "nan"], "milliseconds are needed"),
        (["storm", "--count", "0"], "a positive number is needed"),
    ],
)
def test_wrong_usage_has_status_2(cli: Callable[..., Outcome], arguments: list[str], message: str) -> None:
    outcome = cli("bench", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    if "workload" in message:
        assert f"Workloads: {', '.join(WORKLOADS)}." in outcome.err


def test_unwritable_file_has_status_2(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = cli("bench", "kdf", *SHORT, "--json", str(tmp_path))
    assert outcome.status == 2
    assert "cannot be written: Is a directory" in outcome.document["error"]["message"]


def test_rich_is_not_needed(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rich", "rich.console"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "babar_tls.cli._rich", raising=False)
    outcome = cli("bench", "kdf", *SHORT)
    assert (outcome.status, outcome.err) == (0, "")
    assert re.search(r"^one derivation +.* x hashlib", outcome.out, re.MULTILINE)


def test_ctrl_c_has_status_130_and_no_traceback(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    workload = dataclasses.replace(kdf.WORKLOAD, measure=lambda **_: signal.raise_signal(signal.SIGINT))
    monkeypatch.setitem(WORKLOADS, "kdf", workload)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli("bench", "kdf", "--json") == (130, "", "interrupted\n")
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("connect", "--rounds", "1", "--rtt", "1"), ("x psycopg", "x floor", "Phases of babar-tls", "RTT 1 ms")),
        (("handshake", "--rounds", "1"), ("by the key of the certificate", "by the key-exchange group", "rsa4096")),
        (("stream", "--rounds", "1", "--megabytes", "1"), ("MB/s", "CPU s/GB", "rows of 1000 bytes")),
        (("storm", "--rounds", "1", "--count", "8", "--concurrency", "4"), ("stall, ms", "an idle event loop")),
        (("roundtrips", "--rounds", "1"), ("round trips", "first connect", "agrees")),
        (("memory", "--rounds", "1", "--sessions", "4"), ("in RAM", "allocated by Python")),
        (("scale", "--count", "8"), ("first, ms", "growth, KB")),
        (
            ("drivers", "--rounds", "1", "--queries", "2", "--bulk", "1", "--rows", "10", "--pool", "2"),
            ("x own TLS", "asyncpg: ", "one value of 1 MB", "10 rows"),
        ),
    ],
)
def test_tables_of_each_workload(
    cli: Callable[..., Outcome], tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """The tables fit into a hundred columns, and can be shown again from the document."""
    path = tmp_path / "document.json"
    # A child process, because psqlpy keeps sockets until the process ends.
    outcome = finish(spawn("bench", *arguments, "--json", str(path)))
    assert (outcome.status, outcome.err) == (0, "")
    for word in (*words, "stdlib", "load"):
        assert word in outcome.out
    assert "…" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 100
    assert cli("bench", arguments[0], "--from", str(path)).out == outcome.out


def test_all_ends_with_the_table_of_backends(
    cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A figure that was not measured is a dash."""
    monkeypatch.setattr(all_workloads, "_EACH", {name: WORKLOADS[name] for name in ("handshake", "kdf")})
    path = tmp_path / "all.json"
    outcome = cli("bench", "all", "--quick", "--iterations", "20", "--json", str(path))
    assert (outcome.status, outcome.err) == (0, "")
    for word in ("Backends", "supports", "rsa4096", "x hashlib"):
        assert word in outcome.out
    (connect,) = (line for line in outcome.out.splitlines() if "connect, ms" in line)
    assert "-" in connect
    assert json.loads(path.read_text())["documents"].keys() == {"handshake", "kdf"}


def test_compare_shows_ratios_and_differences(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    assert cli("bench", "kdf", *SHORT, "--json", str(path)).status == 0
    outcome = cli("bench", "kdf", "--rounds", "1", "--iterations", "20", "--compare", str(path))
    assert (outcome.status, outcome.err) == (0, "")
    assert "Comparison with the older document" in outcome.out
    assert "! parameter rounds differs: 2 in the older document, 1 in the newer one" in outcome.out
    document = cli("bench", "kdf", "--from", str(path), "--compare", str(path), "--json").document
    assert document["comparison"]["warnings"] == []
    refused = cli("bench", "connect", "--compare", str(path))
    assert refused.status == 2
    assert "is a document of kdf, not connect" in refused.err


def test_plot_requires_matplotlib(cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    outcome = cli("bench", "kdf", *SHORT, "--plot", str(tmp_path / "pictures"))
    assert (outcome.status, outcome.err) == (0, "")
    assert {path.suffix for path in (tmp_path / "pictures").iterdir()} == {".png", ".svg"}
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused = cli("bench", "kdf", "--plot", str(tmp_path))
    assert refused.status == 2
    assert "pip install 'babar-tls[bench]'" in refused.err


def test_markdown_replaces_only_the_text_between_the_marks(cli: Callable[..., Outcome], tmp_path: Path) -> None:
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
    assert "has no marks for kdf" in refused.err
    assert path.read_text() == "no marks"


def test_documentation_has_marks_for_each_workload() -> None:
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    for name in WORKLOADS:
        assert text.count(f"<!-- bench {name} -->\n") == text.count(f"<!-- end of {name} -->\n") == 1


def test_dsn_names_another_server(cli: Callable[..., Outcome], conninfo: Callable[..., str]) -> None:
    outcome = finish(spawn("bench", "roundtrips", "--rounds", "1", "--dsn", conninfo(), "--json"))
    assert (outcome.status, outcome.err) == (0, "")
    assert APP_PASSWORD not in outcome.out
    assert cli("bench", "roundtrips", "--rounds", "1", "--dsn", conninfo(user="shut"), "--json").status == 6


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_output_without_unicode_is_ascii(encoding: str) -> None:
    outcome = finish(spawn("bench", "kdf", *SHORT, PYTHONIOENCODING=encoding))
    assert (outcome.status, outcome.err) == (0, "")
    assert ("│" in outcome.out) == (encoding == "utf-8")
    assert "?" not in outcome.out


@pytest.mark.parametrize(
    ("clock", "words"),
    [
        ({"hz": None, "source": None, "cpuinfo_hz": None}, "does not report the clock rate"),
        ({"hz": 3e9, "source": "cpuinfo", "cpuinfo_hz": 3e9}, "3.00 GHz, an estimate: the clock rate in /proc/cpuinfo"),
        ({"hz": 4e9, "source": "floor", "cpuinfo_hz": 3e9}, "4.00 GHz, an estimate: /proc/cpuinfo has 3.00"),
        ({"hz": 4e9, "source": "floor", "cpuinfo_hz": None}, "4.00 GHz, an estimate: by the measured time"),
    ],
)
def test_source_of_the_clock_rate_is_described(clock: dict[str, Any], words: str) -> None:
    assert words in kdf._describe_clock(clock)


def test_missing_cases_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    times = {"min": 1e-3, "median": 2e-3}
    document = {
        "workload": "kdf",
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
    }
    show(document, None, [])
    out = capsys.readouterr().out
    assert "not measured: compiled helper: not built\\x1b[2J" in out
