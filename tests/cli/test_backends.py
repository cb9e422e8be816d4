"""`babar-tls backends` tells what is there, what it can do, and how to get the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from babar_tls.backends import BackendStatus, available_backends, backend_names, backend_status
from babar_tls.errors import BackendUnavailable

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
    assert isinstance(engines["stdlib"]["reports_group"], bool)


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
