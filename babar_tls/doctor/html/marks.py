"""The mark and the word of each status: a status is not shown by colour only."""

from __future__ import annotations

from ..diagnosis import Status
from .markup import Html, element

MARKS = {Status.OK: "✓", Status.WARNING: "!", Status.FAILED: "✗", Status.SKIPPED: "\N{EN DASH}"}
WORDS = {Status.OK: "passed", Status.WARNING: "warning", Status.FAILED: "failed", Status.SKIPPED: "skipped"}


def mark(status: Status) -> Html:
    """Return the mark of a status. The word is for screen readers."""
    return element("span", MARKS[status], class_=f"mark {status.value}", role="img", aria_label=WORDS[status])
