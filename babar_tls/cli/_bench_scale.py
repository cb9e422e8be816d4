"""The workload ``scale`` on the command line: its document as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bench_tables import Sheet, kilobytes, milliseconds, short_name, times

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


# A round is a thousand connects of each client.
ROUNDS = 10
QUICK_ROUNDS = 1
_CONNECTS = 1000
_CLIENTS = 4


def configure(group: argparse._ArgumentGroup, positive: Callable[[str], int]) -> None:
    """It has the options of all, and no others."""


def steps(_options: argparse.Namespace, _rounds: int) -> int:
    """How much the progress bar has to go."""
    return _CLIENTS


def measure(options: argparse.Namespace, rounds: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Measure; the document is that of `babar_tls.bench.scale`."""
    from ..bench import scale  # noqa: PLC0415 - what --help does not need

    return scale.run(
        count=options.count or rounds * _CONNECTS, dsn=options.dsn, through=options.through, advance=advance
    )


def sheets(document: dict[str, Any]) -> list[Sheet]:
    """Its table."""
    parameters = document["parameters"]
    rows = [
        (
            short_name(case),
            milliseconds(case["first"]["wall"]["median"]),
            milliseconds(case["last"]["wall"]["median"]),
            milliseconds(case["first"]["cpu"]["median"]),
            milliseconds(case["last"]["cpu"]["median"]),
            times(case["times_first"]["cpu"]),
            kilobytes(case["growth"]),
        )
        for case in document["cases"]
    ]
    return [
        Sheet(
            f"{parameters['count']} connects, one after the other: the first and the last {parameters['edge']}",
            ("client", "first, ms", "last, ms", "first, CPU ms", "last, CPU ms", "last / first", "growth, KB"),
            rows,
        )
    ]
