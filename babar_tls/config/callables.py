"""Results of callables in a configuration."""

from __future__ import annotations

from collections.abc import Coroutine


def discard(result: object) -> None:
    """Close a coroutine that will not be awaited. Otherwise Python warns about it."""
    if isinstance(result, Coroutine):
        result.close()
