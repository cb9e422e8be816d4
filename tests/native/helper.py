"""Import the compiled helper for these tests, or skip them if it is not built.

``BABAR_TLS_TEST_NATIVE=require`` makes its absence a failure.
"""

from __future__ import annotations

import os

import pytest

try:
    from babar_tls._native._babar_native import ffi, lib

    from babar_tls._native import compiled
except ImportError as exc:
    if os.environ.get("BABAR_TLS_TEST_NATIVE") == "require":
        raise
    pytest.skip(f"the compiled helper is not installed: {exc}", allow_module_level=True)

__all__ = ["compiled", "ffi", "lib"]
