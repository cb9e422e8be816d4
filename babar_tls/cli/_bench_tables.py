"""Tables of what was measured: said once, for the terminal and for Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ._terminal import Terminal


class Sheet(NamedTuple):
    """One table: its first column names things, the others have figures."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


# --- Figures ----------------------------------------------------------------------------------------------------------


def milliseconds(seconds: float | None, digits: int = 2) -> str:
    """Seconds as milliseconds; a dash for what was not measured."""
    return "-" if seconds is None else f"{seconds * 1e3:.{digits}f}"


def times(value: float | None) -> str:
    """A ratio."""
    return "-" if value is None else f"{value:.2f}"


def count(value: float | None, digits: int = 0) -> str:
    """A number."""
    return "-" if value is None else f"{value:.{digits}f}"


def kilobytes(value: float | None) -> str:
    """Bytes as kilobytes of 1000."""
    return "-" if value is None else f"{value / 1e3:.0f}"


def short_name(case: dict[str, Any]) -> str:
    """A case's client, our own by its engine."""
    return str(case["name"]).removeprefix("babar-tls ").partition(", rows of ")[0].replace("cached keys", "cached")


def _titled(document: dict[str, Any], sheets: Iterable[Sheet]) -> Iterator[Sheet]:
    """The tables, whose titles say what the server is behind."""
    through = document["parameters"].get("through")
    for sheet in sheets:
        yield sheet._replace(title=f"{sheet.title}, through {through}") if through else sheet


# --- The terminal -----------------------------------------------------------------------------------------------------


def draw(console: Terminal, document: dict[str, Any], sheets: Iterable[Sheet]) -> None:
    """A whole document."""
    draw_machine(console, document)
    draw_sheets(console, _titled(document, sheets))
    draw_verdicts(console, document)


def draw_machine(console: Terminal, document: dict[str, Any]) -> None:
    """On what, and how busy it was."""
    machine, server = document["machine"], document.get("server")
    console.print(console.cell(f"{machine['cpu'] or 'unknown CPU'}, {machine['logical_cpus']} logical CPUs", "bold"))
    against = f", PostgreSQL {server}" if server else ""
    console.print(console.cell(f"{machine['python']}, {machine['openssl']}, {machine['system']}{against}", "dim"))
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    console.print(console.cell(versions, "dim"))
    if machine["load"] is not None:
        console.print(console.cell(f"load {machine['load']} before, {document['load_after']} after", "dim"))
    console.print()


def draw_sheets(console: Terminal, sheets: Iterable[Sheet]) -> None:
    """The tables."""
    from rich.table import Table  # noqa: PLC0415 - optional

    from ._terminal import HEADING  # noqa: PLC0415

    for sheet in sheets:
        table = Table(
            box=console.outline, header_style=HEADING, title=sheet.title, title_justify="left", title_style="bold"
        )
        for number, heading in enumerate(sheet.headings):
            table.add_column(heading, justify="right" if number else "left", no_wrap=number == 0, overflow="fold")
        for row in sheet.rows:
            table.add_row(*map(console.cell, row))
        console.print(table)
        if sheet.note:
            console.print(console.cell(sheet.note, "dim"))
        console.print()


def draw_verdicts(console: Terminal, document: dict[str, Any]) -> None:
    """What was wanted and is or is not so, and what could not be measured."""
    for item in document["missing"]:
        console.print(console.cell(f"not measured: {item['name']}: {item['reason']}", "yellow"))
    for target in document["targets"]:
        if target["met"] is not None:
            console.print(console.verdict(target["met"], target_words(target, "µs" if console.unicode else "us")))


def target_words(target: dict[str, Any], microseconds: str = "µs") -> str:
    """A target in a line."""
    name, unit = target["name"], target.get("unit")

    def shown(value: float) -> str:
        if unit is None:
            return f"{value * 1e6:.3f} {microseconds}" if "seconds" in name else f"{value:.2f}"
        if unit == "seconds":
            return f"{value * 1e3:.1f} ms"
        return f"{value:.2f} times" if unit == "times" else f"{value:.0f} {unit}"

    bound = f"at least {shown(target['at_least'])}" if "at_least" in target else f"at most {shown(target['at_most'])}"
    return f"{name.replace(', seconds', '')}: {shown(target['measured'])}; wanted: {bound}"


def draw_comparison(console: Terminal, comparison: dict[str, Any]) -> None:
    """A document beside an older one."""
    for warning in comparison["warnings"]:
        console.print(console.cell(f"! {warning}", "bold yellow"))
    if comparison["warnings"]:
        console.print(console.cell("! what differs may be the reason for a ratio below", "bold yellow"))
    words = {True: "better", False: "worse", None: ""}
    rows = [
        (
            item["case"].removeprefix("babar-tls "),
            ", ".join(filter(None, [item["what"], item["unit"]])),
            f"{item['old']:.3g}",
            f"{item['new']:.3g}",
            times(item["ratio"]),
            words[item["better"]],
        )
        for item in comparison["cases"]
    ]
    headings = ("case", "figure", "old", "new", "new / old", "")
    draw_sheets(console, [Sheet("Against the older document", headings, rows)])
    for what in ("gone", "added"):
        for name in comparison[what]:
            console.print(console.cell(f"{what}: {name}", "yellow"))


# --- Markdown ---------------------------------------------------------------------------------------------------------


def markdown(document: dict[str, Any], sheets: Iterable[Sheet]) -> str:
    """A whole document, with its machine."""
    machine, server = document["machine"], document.get("server")
    parts = [
        f"{machine['cpu'] or 'unknown CPU'}, {machine['logical_cpus']} logical CPUs",
        machine["python"],
        machine["openssl"],
        *([f"PostgreSQL {server}"] if server else []),
        *(f"{name} {version}" for name, version in machine.get("versions", {}).items()),
        f"load {machine['load']} before, {document['load_after']} after",
        *(f"{name}={value}" for name, value in document["parameters"].items() if value not in (None, [])),
    ]
    blocks = [f"*{'; '.join(parts)}*"]
    for sheet in _titled(document, sheets):
        lines = [_row(sheet.headings), "|---|" + "--:|" * (len(sheet.headings) - 1), *map(_row, sheet.rows)]
        blocks += [f"**{sheet.title}**", "\n".join(lines), *([sheet.note] if sheet.note else [])]
    verdicts = [
        f"- {'met' if target['met'] else '**missed**'}: {target_words(target)}"
        for target in document["targets"]
        if target["met"] is not None
    ]
    verdicts += [f"- not measured: {item['name']}: {item['reason']}" for item in document["missing"]]
    return "\n\n".join([*blocks, *(["\n".join(verdicts)] if verdicts else [])])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def spread(case: dict[str, Any], clock: str) -> tuple[str, str, str]:
    """Median and upper percentiles, in milliseconds."""
    return tuple(milliseconds(case[clock][name]) for name in ("median", "p90", "p99"))  # type: ignore[return-value]  # three
