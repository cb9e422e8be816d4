"""The workload ``stream`` on the command line: its options, and its document as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bench_tables import Sheet, count, milliseconds, short_name, times

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


ROUNDS = 5
QUICK_ROUNDS = 1


def configure(group: argparse._ArgumentGroup, positive: Callable[[str], int]) -> None:
    """Declare this workload's options."""
    group.add_argument(
        "--megabytes", metavar="N", type=positive, default=256, help="for each client and round (default: %(default)s)"
    )


def steps(_: argparse.Namespace, rounds: int) -> int:
    """How much the progress bar has to go."""
    return rounds


def measure(options: argparse.Namespace, rounds: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Measure; the document is that of `babar_tls.bench.stream`."""
    from ..bench import stream  # noqa: PLC0415 - what --help does not need

    return stream.run(
        rounds=rounds, megabytes=options.megabytes, dsn=options.dsn, through=options.through, advance=advance
    )


def sheets(document: dict[str, Any]) -> list[Sheet]:
    """Its tables."""
    return [_sheet(document, size) for size in document["parameters"]["row_bytes"]]


def _sheet(document: dict[str, Any], size: int) -> Sheet:
    rows = [
        (
            short_name(case),
            count(case["megabytes_per_second"]),
            times(case["cpu_per_gigabyte"]),
            milliseconds(case["wall"]["median"], 0),
            milliseconds(case["wall"]["min"], 0),
            milliseconds(case["wall"]["max"], 0),
        )
        for case in document["cases"]
        if case["row_bytes"] == size
    ]
    parameters = document["parameters"]
    return Sheet(
        f"COPY TO STDOUT over TLS, {parameters['megabytes']} MB in rows of {size} bytes",
        ("client", "MB/s", "CPU s/GB", "ms", "min", "max"),
        rows,
        f"Medians of {parameters['rounds']} rounds.",
    )
