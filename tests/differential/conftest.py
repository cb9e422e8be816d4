"""A long run of the generated chains (see `tests.fuzzing.profile`) has no timeout."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzing.profile import LONG

pytest.importorskip("cryptography")

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if LONG:
        for item in items:
            if _HERE in item.path.parents:
                item.add_marker(pytest.mark.timeout(0))
