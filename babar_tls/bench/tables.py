"""Tables of a document, for the terminal and for Markdown, and the format of their cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Table(NamedTuple):
    """One table: the first column has names, the others have figures."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def number(value: float | None, digits: int = 0, *, scale: float = 1.0) -> str:
    """Return a number with this many decimals, or a dash for None."""
    return "-" if value is None else f"{value * scale:.{digits}f}"


def milliseconds(seconds: float | None, digits: int = 2) -> str:
    """Return a number of seconds in milliseconds, or a dash for None."""
    return number(seconds, digits, scale=1e3)


def spread(figures: dict[str, Any]) -> list[str]:
    """Return median, 90th and 99th percentile of a summary in milliseconds."""
    return [milliseconds(figures[name]) for name in ("median", "p90", "p99")]


def short_name(case: dict[str, Any]) -> str:
    """Return the name of a case without the name of this library and the size of rows."""
    return str(case["name"]).removeprefix("babar-tls ").partition(", rows of ")[0].replace("cached keys", "cached")


def titled(document: dict[str, Any], tables: Iterable[Table]) -> Iterator[Table]:
    """Yield the tables, each with the pooler in its title if the document has one."""
    through = document["parameters"].get("through")
    for table in tables:
        yield table._replace(title=f"{table.title}, through {through}") if through else table
