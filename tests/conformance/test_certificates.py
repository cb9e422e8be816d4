"""Server certificates of every shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .agreement import check
from .libpq_process import require_libpq
from .table_certificates import CERTIFICATES

if TYPE_CHECKING:
    from .libpq_process import Libpq
    from .world import World

require_libpq()


@pytest.mark.parametrize("shape", CERTIFICATES)
def test_certificate(world: World, libpq: Libpq, shape: str) -> None:
    """This library and libpq believe a certificate, or refuse it, and say the same of it."""
    world.present(shape)
    check(world, libpq, CERTIFICATES[shape])
