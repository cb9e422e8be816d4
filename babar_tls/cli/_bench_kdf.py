"""The workload ``kdf`` on the command line: its options, and its document as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bench_tables import Sheet, draw_verdicts, milliseconds, times

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rich.table import Table

    from ._terminal import Terminal


ROUNDS = 200
QUICK_ROUNDS = 20


def configure(group: argparse._ArgumentGroup, positive: Callable[[str], int]) -> None:
    """Declare this workload's options."""
    group.add_argument(
        "--iterations", metavar="N", type=positive, default=4096, help="of each derivation (default: %(default)s)"
    )


def steps(_: argparse.Namespace, rounds: int) -> int:
    """How much the progress bar has to go."""
    return rounds


def measure(options: argparse.Namespace, rounds: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Measure; the document is that of `babar_tls.bench.kdf`."""
    from ..bench import kdf  # noqa: PLC0415 - what --help does not need

    return kdf.run(iterations=options.iterations, rounds=rounds, advance=advance)


def draw(console: Terminal, document: dict[str, Any]) -> None:
    """Show the document."""
    machine, parameters = document["machine"], document["parameters"]
    console.print(console.cell(f"{machine['cpu'] or 'unknown CPU'}, {machine['logical_cpus']} logical CPUs", "bold"))
    console.print(console.cell(f"{machine['python']}, {machine['openssl']}, {machine['system']}", "dim"))
    console.print(console.cell(_noise(document), "dim"))
    console.print()
    console.print(_derivations(console, document))
    console.print(console.cell(_clock(document["clock"]), "dim"))
    console.print(console.cell(f"{parameters['rounds']} rounds, every one measuring everything in turn", "dim"))
    console.print()
    if document["call"] is not None or document["end_point"]:
        console.print(_small(console, document))
    draw_verdicts(console, document)


def sheets(document: dict[str, Any]) -> list[Sheet]:
    """Its tables, where they are not drawn."""
    rows = [
        (
            f"{item['kernel']}, {document['parameters']['bulk']} at once" if item["what"] == "bulk" else item["name"],
            *(milliseconds(item["wall"][figure], 3) for figure in ("min", "median")),
            times(item["times_hashlib"]),
            "-" if item["cycles_per_compression"] is None else f"{item['cycles_per_compression']:.0f}",
        )
        for item in document["derivations"]
    ]
    title = f"PBKDF2-HMAC-SHA-256, {document['parameters']['iterations']} iterations"
    headings = ("one derivation", "min, ms", "median, ms", "x hashlib", "cycles a compression")
    return [Sheet(title, headings, rows, _clock(document["clock"]))]


def _noise(document: dict[str, Any]) -> str:
    before, after = document["machine"]["load"], document["load_after"]
    wall = document["derivations"][0]["wall"]
    load = f"load {before} before, {after} after; " if before is not None else ""
    return f"noise: {load}hashlib's median is {wall['median'] / wall['min']:.2f} times its minimum"


def _derivations(console: Terminal, document: dict[str, Any]) -> Table:
    parameters, floor = document["parameters"], document["floor"]
    table = _table(console, f"PBKDF2-HMAC-SHA-256, {parameters['iterations']} iterations", "ms of one derivation")
    for heading in ("times hashlib", "cycles"):
        table.add_column(heading, justify="right", no_wrap=True)
    for item in document["derivations"]:
        name = f"{item['kernel']}, {parameters['bulk']} at once" if item["what"] == "bulk" else item["name"]
        ratio = console.cell(f"{item['times_hashlib']:.2f}")
        table.add_row(console.cell(name), *_clocks(console, item, 1e3, 3), ratio, _number(console, item))
    if floor["seconds"] is not None and any(item["kernel"] == "sha-ni" for item in document["derivations"]):
        milliseconds = f"{floor['seconds'] * 1e3:.3f}"
        ratio = document["derivations"][0]["wall"]["min"] / floor["seconds"]
        cells = (
            "floor of one SHA-NI chain",
            milliseconds,
            "",
            "",
            f"{ratio:.2f}",
            str(floor["cycles_per_compression"]),
        )
        table.add_row(*(console.cell(text, "dim") for text in cells))
    return table


def _small(console: Terminal, document: dict[str, Any]) -> Table:
    certificate = document["certificate"]
    what = f"; end-point hash of a certificate of {certificate['bytes']} bytes" if certificate else ""
    table = _table(console, f"Small things{what}", "µs each" if console.unicode else "us each")
    if document["call"] is not None:
        table.add_row(console.cell("a call into the helper"), *_clocks(console, document["call"], 1e6, 3))
    for item in document["end_point"]:
        table.add_row(console.cell(item["name"]), *_clocks(console, item, 1e6, 3))
    return table


def _table(console: Terminal, title: str, unit: str) -> Table:
    from rich.table import Table  # noqa: PLC0415 - optional

    from ._terminal import HEADING  # noqa: PLC0415

    table = Table(box=console.outline, header_style=HEADING, title=title, title_justify="left", title_style="bold")
    table.add_column(unit, no_wrap=True)
    for heading in ("min", "median", "CPU min"):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _clocks(console: Terminal, item: dict[str, Any], scale: float, digits: int) -> list[Any]:
    values = (item["wall"]["min"], item["wall"]["median"], item["cpu"]["min"])
    return [console.cell(f"{value * scale:.{digits}f}") for value in values]


def _number(console: Terminal, item: dict[str, Any]) -> Any:
    cycles = item["cycles_per_compression"]
    return console.cell("-" if cycles is None else f"{cycles:.0f}")


def _clock(clock: dict[str, Any]) -> str:
    if clock["hz"] is None:
        return "Cycles would need the CPU's clock, which this system does not tell."
    gigahertz = f"{clock['hz'] / 1e9:.2f} GHz"
    if clock["source"] == "cpuinfo":
        return f"Cycles of one compression at {gigahertz}: an estimate, the clock that /proc/cpuinfo tells."
    told = f"/proc/cpuinfo tells {clock['cpuinfo_hz'] / 1e9:.2f}, too slow for" if clock["cpuinfo_hz"] else "from"
    return (
        f"Cycles of one compression at {gigahertz}, an estimate: {told} the time measured, because no SHA-NI chain is "
        "faster than its floor. So sha-ni stands at the floor by definition, and the others in proportion."
    )
