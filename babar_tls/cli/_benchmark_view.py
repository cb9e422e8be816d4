"""Documents of benchmarks on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..bench.tables import Table, number, titled
from ..bench.workloads.all import WORKLOADS
from ..diagnostics.counts import count
from ._terminal import HEADING, Terminal, terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._layout import Cell


def show(document: dict[str, Any], comparison: dict[str, Any] | None, written: Sequence[str]) -> None:
    """Print a document, its comparison with an older one, and the names of the written files."""
    console = terminal()
    _show_machine(console, document)
    for one in (*document.get("documents", {}).values(), document):
        for table in titled(one, WORKLOADS[one["workload"]].tables(one)):
            _show_table(console, table)
    for item in document["missing"]:
        console.write(f"not measured: {item['name']}: {item['reason']}", "yellow")
    if comparison is not None:
        _show_comparison(console, comparison)
    for text in written:
        console.write(f"written: {text}", "dim")


def _show_machine(console: Terminal, document: dict[str, Any]) -> None:
    machine, server = document["machine"], document.get("server")
    console.write(f"{machine['cpu'] or 'unknown CPU'}, {count(machine['logical_cpus'], 'logical CPU')}", "bold")
    software = [machine["python"], machine["openssl"], machine["system"], *([f"PostgreSQL {server}"] if server else [])]
    console.write(", ".join(software), "dim")
    console.write(", ".join(map(" ".join, machine.get("versions", {}).items())), "dim")
    if machine["load"] is not None:
        console.write(f"load {machine['load']} before, {document['load_after']} after", "dim")
    console.write()


def _show_table(console: Terminal, table: Table) -> None:
    def cell(text: str) -> Cell:
        return console.cell(text if console.unicode else text.replace("µ", "u"))

    rows = [list(map(cell, row)) for row in table.rows]
    headings = [console.cell(cell(text).lines[0], HEADING) for text in table.headings]
    right = range(1, len(headings))
    console.print(console.table(rows, headings, table.title, right=right))
    if table.note:
        console.write(cell(table.note).lines[0], "dim")
    console.write()


def _show_comparison(console: Terminal, comparison: dict[str, Any]) -> None:
    for warning in comparison["warnings"]:
        console.warning(warning)
    if comparison["warnings"]:
        console.warning("these differences can be the reason for a ratio below")
    words = {True: "better", False: "worse", None: ""}
    rows = [
        (
            item["case"].removeprefix("babar-tls "),
            ", ".join(filter(None, [item["what"], item["unit"]])),
            f"{item['old']:.3g}",
            f"{item['new']:.3g}",
            number(item["ratio"], 2),
            words[item["better"]],
        )
        for item in comparison["cases"]
    ]
    headings = ("case", "figure", "old", "new", "new / old", "")
    _show_table(console, Table("Comparison with the older document", headings, rows))
    for what in ("gone", "added"):
        for name in comparison[what]:
            console.write(f"{what}: {name}", "yellow")
