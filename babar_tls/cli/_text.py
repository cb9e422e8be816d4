"""Text that is safe and sensible to print, without any dependency."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

__all__ = ["milliseconds", "print_json", "visible"]

# Control, format (bidirectional overrides among them), surrogate, line and paragraph separator.
_UNSAFE = frozenset(["Cc", "Cf", "Cs", "Zl", "Zp"])


def visible(text: str, *, keep_newlines: bool = False) -> str:
    """`text` with everything that could steer a terminal, or deceive its reader, written as an escape.

    What a server sends is not to be trusted before it has been authenticated, nor always after.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in _UNSAFE and not (keep_newlines and char == "\n")
        else char
        for char in text
    )


def milliseconds(seconds: float) -> str:
    """A duration, to a hundredth of a millisecond, so that the digits of a column stand below one another."""
    return f"{seconds * 1000:.2f} ms"


def print_json(document: dict[str, Any]) -> None:
    """The one document of ``--json``; ASCII, so that nothing in it can steer a terminal."""
    print(json.dumps(document, indent=2))
