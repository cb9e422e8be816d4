"""The compiled helper, whichever kernel was asked for last: a test chooses its own, and the choice is undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    from babar_tls._native import compiled
except ImportError:
    KERNELS = ["none"]  # helper.py skips what would need one, or fails
else:
    KERNELS = [name for name, capable in compiled.kernels().items() if capable]


@pytest.fixture
def helper() -> Iterator[Any]:
    """`babar_tls._native.compiled`; the selected kernel is put back afterwards."""
    before = compiled.selected()
    yield compiled
    assert compiled.select(before)


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest, helper: Any) -> str:
    """Each kernel that this CPU can run, selected."""
    assert helper.select(request.param)
    return str(request.param)
