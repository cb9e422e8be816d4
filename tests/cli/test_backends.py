"""Output of `babar-tls backends`."""

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
    """Add a backend that is not installed."""
    problem = BackendUnavailable("TLS backend 'far' cannot be used: no [far]\x1b[2J", remedy="pip install 'far[tls]'")
    statuses = [*backend_status(), BackendStatus("far", None, problem)]
    monkeypatch.setattr("babar_tls.backends.backend_status", lambda: statuses)


def test_table_lists_every_backend(cli: Callable[..., Outcome]) -> None:
    outcome = cli("backends")
    assert (outcome.status, outcome.err) == (0, "")
    for word in (*backend_names(), "TLSv1.2", "TLSv1.3", "tls-server-end-point"):
        assert word in outcome.out


def test_json_has_capabilities(cli: Callable[..., Outcome]) -> None:
    backends = {backend["name"]: backend for backend in cli("backends", "--json").document["backends"]}
    assert tuple(backends) == backend_names()
    assert {name for name, backend in backends.items() if backend["available"]} == set(available_backends())
    assert "TLSv1.3" in backends["stdlib"]["tls_versions"]
    assert "tls-server-end-point" in backends["stdlib"]["channel_bindings"]
    assert isinstance(backends["stdlib"]["crls"], bool)


@pytest.mark.usefixtures("one_missing")
def test_missing_backend_is_listed_with_its_installation(cli: Callable[..., Outcome]) -> None:
    """The exit status is 0."""
    outcome = cli("backends")
    assert outcome.status == 0
    assert "pip install 'far[tls]'" in outcome.out
    assert "no [far]\\x1b[2J" in outcome.out


@pytest.mark.usefixtures("one_missing")
def test_json_has_the_installation_of_a_missing_backend(cli: Callable[..., Outcome]) -> None:
    backend = cli("backends", "--json").document["backends"][-1]
    assert (backend["name"], backend["available"], backend["remedy"]) == ("far", False, "pip install 'far[tls]'")


def rows(table: str) -> dict[str, list[str]]:
    """Return the rows of a Markdown table by their first cell."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    return {line[0]: line[1:] for line in lines}


def test_markdown_table_is_in_the_documentation(cli: Callable[..., Outcome]) -> None:
    """docs/backends.md has this table, except for facts that depend on other releases."""
    if available_backends() != ("stdlib", "openssl", "rustls"):
        pytest.skip("not every backend of the table is installed")
    page = (Path(__file__).parents[2] / "docs" / "backends.md").read_text(encoding="utf-8")
    written = rows(page.partition("--markdown -->\n")[2].partition("<!-- end -->")[0])
    shown = rows(cli("backends", "--markdown").out)
    assert list(written) == list(shown)
    varying = {fact.label.strip() for fact in FACTS if fact.depends_on_release}
    for backend in range(3):
        same = written["version"][backend] == shown["version"][backend]
        for label, cells in shown.items():
            if same or label not in varying:
                assert written[label][backend] == cells[backend], label


def test_json_has_groups_and_default_roots(cli: Callable[..., Outcome]) -> None:
    document = cli("backends", "--json").document
    for backend in document["backends"]:
        if backend["available"]:
            assert "x25519" in backend["groups"]
            assert backend["post_quantum"] is ("X25519MLKEM768" in backend["groups"])
    assert document["default_roots"]["sources"]
    assert document["default_roots"]["anchors"] > 0


def test_missing_default_trust_store_is_reported(
    cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The exit status is 0."""
    monkeypatch.setattr("babar_tls.tls.default_roots.default_roots", _none)
    outcome = cli("backends")
    assert outcome.status == 0
    assert "No default trust store" in outcome.out


def _none() -> None:
    raise ConfigError("no roots at all")
