"""The servers and files of the table, and libpq."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from babar_tls.tls.key_share_cache import key_share_cache

from .libpq_process import Libpq
from .world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("conformance")) as world:
        yield world


@pytest.fixture(scope="session")
def libpq() -> Iterator[Libpq]:
    with Libpq() as libpq:
        yield libpq


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables that libpq reads."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def full_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer all groups from the beginning: libpq does not repeat a handshake with a narrowed offer."""
    monkeypatch.setattr(key_share_cache, "parameters", lambda server: server.parameters)
