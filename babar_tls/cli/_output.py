"""Output that needs no other package: JSON documents, durations, counts, and what is not printed."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def milliseconds(seconds: float) -> str:
    """Return a duration with two decimals, so that the digits of a column are aligned."""
    return f"{seconds * 1000:.2f} ms"


def print_json(document: dict[str, Any]) -> None:
    """Print the document of ``--json``, in ASCII so that it cannot contain terminal control characters."""
    print(json.dumps(document, indent=2))


@contextmanager
def without_weakness_warnings() -> Iterator[None]:
    """Log no warning about a weak session, for a command that shows weaknesses itself. It is also a decorator."""
    import logging  # noqa: PLC0415 - slow to import, not needed for --help

    from ..diagnostics.log import WEAKNESSES  # noqa: PLC0415 - the same

    logger = logging.getLogger(WEAKNESSES)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
