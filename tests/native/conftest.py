"""Fixtures: the compiled helper. The selected kernel is restored after each test."""

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
    """Return `babar_tls._native.compiled`, and restore the selected kernel afterwards."""
    before = compiled.selected()
    yield compiled
    assert compiled.select(before)


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest, helper: Any) -> str:
    """Select each kernel that this CPU supports."""
    assert helper.select(request.param)
    return str(request.param)
