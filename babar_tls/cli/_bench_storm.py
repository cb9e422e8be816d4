"""The workload ``storm`` on the command line: its options, and its document as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bench_tables import Sheet, count, milliseconds, short_name, times

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


ROUNDS = 3
QUICK_ROUNDS = 1
CONNECTS = 1000


def configure(group: argparse._ArgumentGroup, positive: Callable[[str], int]) -> None:
    """Declare this workload's options."""
    group.add_argument(
        "--concurrency", metavar="N", type=positive, default=100, help="connects at a time (default: %(default)s)"
    )


def steps(_: argparse.Namespace, rounds: int) -> int:
    """How much the progress bar has to go."""
    return rounds


def measure(options: argparse.Namespace, rounds: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Measure; the document is that of `babar_tls.bench.storm`."""
    from ..bench import storm  # noqa: PLC0415 - what --help does not need

    connects = options.count or CONNECTS
    return storm.run(
        rounds=rounds,
        count=connects,
        concurrency=options.concurrency,
        dsn=options.dsn,
        through=options.through,
        advance=advance,
    )


def sheets(document: dict[str, Any]) -> list[Sheet]:
    """Its table."""
    parameters, quiet = document["parameters"], document["quiet"]
    rows = [
        (
            short_name(case),
            times(case["seconds"]["median"]),
            milliseconds(case["cpu_per_connect"]["median"]),
            "-" if case.get("busy") is None else f"{case['busy']:.0%}",
            count(case["failed"]),
            milliseconds(case["stall"], 1),
            milliseconds(case["worst_stall"], 1),
        )
        for case in document["cases"]
    ]
    if quiet:
        idle = ("a loop with nothing to do", "-", "-", "-", "-")
        rows.append((*idle, milliseconds(quiet["stall"], 1), milliseconds(quiet["worst_stall"], 1)))
    return [
        Sheet(
            f"{parameters['count']} connects from asyncio, {parameters['concurrency']} at a time",
            ("client", "seconds", "CPU ms each", "cores busy", "failed", "stall, ms", "worst, ms"),
            rows,
            "Cores busy: how much of all cores' time was used, by the server too; at 100 % a client is faster only by "
            "computing less. Stall: how late the loop was for others, the median of the ten worst. The last line is a "
            "process that does nothing while another one storms: what the machine itself costs.",
        )
    ]
