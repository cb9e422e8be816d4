"""The servers of the seeded faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .fault_world import World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Return the servers of the seeded faults, which are started when a test needs them."""
    from .fault_world import World  # its packages may be missing

    world = World()
    yield world
    world.close()
