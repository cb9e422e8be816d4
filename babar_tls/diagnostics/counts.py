"""Numbers with their nouns."""

from __future__ import annotations


def count(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 row``, ``2 rows``. The plural is regular unless it is given."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
