"""Output formats that need no other package: JSON documents and durations."""

from __future__ import annotations

import json
from typing import Any


def milliseconds(seconds: float) -> str:
    """Return a duration with two decimals, so that the digits of a column are aligned."""
    return f"{seconds * 1000:.2f} ms"


def print_json(document: dict[str, Any]) -> None:
    """Print the document of ``--json``, in ASCII so that it cannot contain terminal control characters."""
    print(json.dumps(document, indent=2))
