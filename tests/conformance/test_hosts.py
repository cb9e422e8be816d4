"""Several hosts, and servers that say what no real one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .agreement import check
from .libpq_process import require_libpq
from .table_hosts import HOSTS

if TYPE_CHECKING:
    from .libpq_process import Libpq
    from .world import World

require_libpq()


@pytest.mark.parametrize("batch", HOSTS)
def test_hosts(world: World, libpq: Libpq, batch: str) -> None:
    """This library and libpq go to the same hosts, as often, and end at the same one."""
    check(world, libpq, HOSTS[batch])
