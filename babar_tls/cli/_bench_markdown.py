"""Tables in a Markdown file, between marks that say whose they are, so that they can be written anew."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ._bench_tables import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator


def update(path: str, document: dict[str, Any]) -> list[str]:
    """Write a document's tables, and those of the documents in it, between their marks in a file.

    What was measured through something has marks of its own: ``connect through pgbouncer``.

    Returns:
        The workloads whose marks were found.

    Raises:
        ConfigError: The file cannot be read or written, or has no such marks.
    """
    found = []
    try:
        text = Path(path).read_text(encoding="utf-8")
        for workload, tables in _blocks(document):
            begin, end = f"<!-- bench {workload} -->", f"<!-- end of {workload} -->"
            pattern = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
            if pattern.search(text):
                text = pattern.sub(f"\n{tables}\n\n".replace("\\", r"\\"), text)
                found.append(workload)
        if not found:
            name = _name(document)
            raise ConfigError(
                f"{path!r} has no place for {name}",
                remedy=f"<!-- bench {name} --> and <!-- end of {name} -->, on lines of their own, are where the tables "
                "go between.",
            )
        Path(path).write_text(text, encoding="utf-8")
    except (OSError, UnicodeError) as exc:
        raise ConfigError(f"{path!r} cannot be written: {getattr(exc, 'strerror', None) or 'no text'}") from exc
    return found


def _blocks(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    drawing = import_module(f"._bench_{document['workload']}", __package__)
    yield _name(document), markdown(document, drawing.sheets(document))
    for inner in document.get("documents", {}).values():
        yield from _blocks(inner)


def _name(document: dict[str, Any]) -> str:
    """What its marks call it."""
    through = document["parameters"].get("through")
    return f"{document['workload']} through {through}" if through else str(document["workload"])
