"""A fixture that removes every source of values except the connection string."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from babar_tls.conninfo import paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty home directory; remove all PG* variables and socket directories."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path / "etc"))
    monkeypatch.setattr(paths, "SOCKET_DIRECTORIES", ())
    return tmp_path
