"""Escape text from servers and other untrusted sources for display."""

from __future__ import annotations

import unicodedata


def visible(text: str, *, limit: int | None = None, keep_newlines: bool = False) -> str:
    r"""Replace control characters and other invisible characters by escapes (``\x1b``).

    Text from an unauthenticated server could otherwise forge lines of a log, control a terminal, or display characters
    in a different order (CVE-2021-42574).

    Args:
        text: The text.
        limit: The maximum number of characters, after which the number of omitted characters is shown; `None` for all.
        keep_newlines: Do not escape line feeds.
    """
    if limit is not None and len(text) > limit:
        shown = visible(text[:limit], keep_newlines=keep_newlines)
        return f"{shown}... ({len(text) - limit} more characters)"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if _is_harmless(char) or (keep_newlines and char == "\n") else char.encode("unicode_escape").decode()
        for char in text
    )


def _is_harmless(char: str) -> bool:
    """Return True for printable characters and spaces, including non-ASCII spaces, which French messages contain."""
    return char.isprintable() or unicodedata.category(char) == "Zs"
