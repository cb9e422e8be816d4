"""Text that is safe and sensible to print, without any dependency."""

from __future__ import annotations

import json
from typing import Any


def milliseconds(seconds: float) -> str:
    """A duration, to a hundredth of a millisecond, so that the digits of a column stand below one another."""
    return f"{seconds * 1000:.2f} ms"


def print_json(document: dict[str, Any]) -> None:
    """The one document of ``--json``; ASCII, so that nothing in it can steer a terminal."""
    print(json.dumps(document, indent=2))
