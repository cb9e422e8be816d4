"""`babar-tls backends` tells what is there, what it can do, and how to get the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from babar_tls.backends import BackendStatus, available_backends, backend_names, backend_status
from babar_tls.cli._backend_facts import FACTS
from babar_tls.errors import BackendUnavailable, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Outcome


@pytest.fixture
def one_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that is not installed."""
    problem = BackendUnavailable("TLS backend 'far' cannot be used: no [far]\x1b[2J", remedy="pip install 'far[tls]'")
    statuses = [*backend_status(), BackendStatus("far", None, problem)]
    monkeypatch.setattr("babar_tls.backends.backend_status", lambda: statuses)


def test_table(cli: Callable[..., Outcome]) -> None:
    """Every known engine is in the table, with TLS versions and channel bindings."""
    outcome = cli("backends")
    assert (outcome.status, outcome.err) == (0, "")
    for word in (*backend_names(), "TLSv1.2", "TLSv1.3", "tls-server-end-point"):
        assert word in outcome.out


def test_json(cli: Callable[..., Outcome]) -> None:
    """--json has each engine's capabilities."""
    engines = {engine["name"]: engine for engine in cli("backends", "--json").document["backends"]}
    assert tuple(engines) == backend_names()
    assert {name for name, engine in engines.items() if engine["available"]} == set(available_backends())
    assert "TLSv1.3" in engines["stdlib"]["tls_versions"]
    assert "tls-server-end-point" in engines["stdlib"]["channel_bindings"]
    assert isinstance(engines["stdlib"]["crls"], bool)


@pytest.mark.usefixtures("one_missing")
def test_missing_engine(cli: Callable[..., Outcome]) -> None:
    """An engine that is not installed is listed with the command that installs it, and that is no failure."""
    outcome = cli("backends")
    assert outcome.status == 0
    assert "pip install 'far[tls]'" in outcome.out
    assert "no [far]\\x1b[2J" in outcome.out


@pytest.mark.usefixtures("one_missing")
def test_missing_engine_as_json(cli: Callable[..., Outcome]) -> None:
    """--json has the remedy too."""
    engine = cli("backends", "--json").document["backends"][-1]
    assert (engine["name"], engine["available"], engine["remedy"]) == ("far", False, "pip install 'far[tls]'")


def rows(table: str) -> dict[str, list[str]]:
    """A Markdown table's rows by their first cell."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    return {line[0]: line[1:] for line in lines}


def test_documentation(cli: Callable[..., Outcome]) -> None:
    """The table in docs/backends.md is this command's, except for what other releases may do otherwise."""
    if available_backends() != ("stdlib", "openssl", "rustls"):
        pytest.skip("not every engine of the table is installed")
    page = (Path(__file__).parents[2] / "docs" / "backends.md").read_text(encoding="utf-8")
    written = rows(page.partition("--markdown -->\n")[2].partition("<!-- end -->")[0])
    shown = rows(cli("backends", "--markdown").out)
    assert list(written) == list(shown)
    varying = {fact.label.strip() for fact in FACTS if fact.depends_on_release}
    for engine in range(3):
        same = written["version"][engine] == shown["version"][engine]
        for label, cells in shown.items():
            if same or label not in varying:
                assert written[label][engine] == cells[engine], label


def test_json_has_what_is_offered(cli: Callable[..., Outcome]) -> None:
    """--json has groups as each engine offers them, and what all of them trust."""
    document = cli("backends", "--json").document
    for engine in document["backends"]:
        if engine["available"]:
            assert "x25519" in engine["groups"]
            assert engine["post_quantum"] is ("X25519MLKEM768" in engine["groups"])
    assert document["default_roots"]["sources"]
    assert document["default_roots"]["anchors"] > 0


def test_no_roots(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without roots is told about, in words, and that is no failure."""
    monkeypatch.setattr("babar_tls.tls.default_roots.default_roots", _none)
    outcome = cli("backends")
    assert outcome.status == 0
    assert "No default trust store" in outcome.out


def _none() -> None:
    raise ConfigError("no roots at all")
