"""Text from a server or another stranger, made safe to show."""

from __future__ import annotations

import unicodedata


def visible(text: str, *, limit: int | None = None, keep_newlines: bool = False) -> str:
    r"""Replace every character that could steer a terminal or deceive a reader by an escape (``\x1b``).

    Text from a server that is not authenticated could otherwise forge lines of a log, set the title of a terminal or
    show characters in another order than they have (CVE-2021-42574).

    Args:
        text: The text.
        limit: Characters to show; the number of the others is told. `None` shows all.
        keep_newlines: Leave line feeds as they are.
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
    """Return True for printable characters and for spaces, of which French messages have others than the ASCII one."""
    return char.isprintable() or unicodedata.category(char) == "Zs"
