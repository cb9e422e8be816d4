"""Build HTML. Every text is escaped and shortened, unless it is markup from this module."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

from ...diagnostics.escaping import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The maximum number of characters of one text. Texts can be from a hostile server.
MAX_TEXT = 2000

_VOID = frozenset({"meta"})


class Html(str):
    """Markup. A plain `str` is text."""

    __slots__ = ()


Child = Html | str | None


def text(value: str, *, limit: int = MAX_TEXT) -> Html:
    """Return a text as markup: escaped for HTML, with control and bidirectional characters visible."""
    return Html(escape(visible(value, limit=limit, keep_newlines=True)))


def join(*children: Child) -> Html:
    """Return the concatenation of markup and texts; `None` adds nothing."""
    return Html("".join(child if isinstance(child, Html) else text(child) for child in children if child is not None))


def element(name: str, /, *children: Child, **attributes: str | None) -> Html:
    """Return an element.

    Args:
        name: The name of the element.
        children: Its contents, as for `join`.
        attributes: Its attributes. An underscore becomes a hyphen, and is removed at the end (``class_``). `None`
            leaves an attribute out.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{shown}>" if name in _VOID else f"<{name}{shown}>{join(*children)}</{name}>")


def isolated(value: str, *, limit: int = MAX_TEXT) -> Html:
    """Return a text whose direction does not change the order of the text around it."""
    return element("bdi", text(value, limit=limit))


class Part(NamedTuple):
    """The first items of a list."""

    items: list[Html]
    left_out: int


def bounded(values: Iterable[str], *, items: int, characters: int, limit: int = MAX_TEXT) -> Part:
    """Return the first texts as markup.

    Args:
        values: The texts.
        items: The maximum number of texts.
        characters: The maximum number of characters of all of them, as markup. The first text is always returned.
        limit: The maximum number of characters of one text, before it is escaped.
    """
    shown: list[Html] = []
    used = left_out = 0
    for value in values:
        if left_out or len(shown) == items:
            left_out += 1
            continue
        item = text(value, limit=limit)
        if shown and used + len(item) > characters:
            left_out += 1
            continue
        shown.append(item)
        used += len(item)
    return Part(shown, left_out)


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
