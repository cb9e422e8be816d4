"""Tables in a Markdown file, between marks that name their workload, so that they can be replaced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..diagnostics.counts import count
from ..errors import ConfigError
from .tables import titled
from .workloads.all import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def update(path: str, document: dict[str, Any]) -> list[str]:
    """Write the tables of a document and of its inner documents between their marks in a file.

    The marks of measurements through a pooler have its name: ``connect through pgbouncer``.

    Returns:
        The names of the marks that were found.

    Raises:
        ConfigError: The file cannot be read or written, or has no such marks.
    """
    found = []
    try:
        text = Path(path).read_text(encoding="utf-8")
        for one in (document, *document.get("documents", {}).values()):
            name, tables = _mark(one), _render(one)
            pattern = f"(?<=<!-- bench {re.escape(name)} -->\n).*?(?=<!-- end of {re.escape(name)} -->)"
            text, count = re.subn(pattern, lambda _, tables=tables: f"\n{tables}\n\n", text, flags=re.DOTALL)  # type: ignore[misc]  # mypy cannot infer this lambda
            found += [name] if count else []
        if not found:
            name = _mark(document)
            raise ConfigError(
                f"{path!r} has no marks for {name}",
                remedy=f"Add the lines <!-- bench {name} --> and <!-- end of {name} --> where the tables belong.",
            )
        Path(path).write_text(text, encoding="utf-8")
    except (OSError, UnicodeError) as exc:
        raise ConfigError(f"{path!r} cannot be written: {getattr(exc, 'strerror', None) or 'it is not text'}") from exc
    return found


def _mark(document: dict[str, Any]) -> str:
    through = document["parameters"].get("through")
    return f"{document['workload']} through {through}" if through else str(document["workload"])


def _render(document: dict[str, Any]) -> str:
    """Return the machine, the tables, and what is missing."""
    blocks = [f"*{'; '.join(_facts(document))}*"]
    for table in titled(document, WORKLOADS[document["workload"]].tables(document)):
        lines = [_row(table.headings), "|---|" + "--:|" * (len(table.headings) - 1), *map(_row, table.rows)]
        blocks += [f"**{table.title}**", "\n".join(lines), *([table.note] if table.note else [])]
    missing = [f"- not measured: {item['name']}: {item['reason']}" for item in document["missing"]]
    return "\n\n".join([*blocks, *(["\n".join(missing)] if missing else [])])


def _facts(document: dict[str, Any]) -> Iterator[str]:
    machine, server = document["machine"], document.get("server")
    yield f"{machine['cpu'] or 'unknown CPU'}, {count(machine['logical_cpus'], 'logical CPU')}"
    yield machine["python"]
    yield machine["openssl"]
    if server:
        yield f"PostgreSQL {server}"
    yield from (f"{name} {version}" for name, version in machine.get("versions", {}).items())
    yield f"load {machine['load']} before, {document['load_after']} after"
    yield from (f"{name}={value}" for name, value in document["parameters"].items() if value not in (None, []))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
