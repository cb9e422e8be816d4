"""The workload ``memory`` on the command line: its options, and its document as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bench_tables import Sheet, kilobytes, short_name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


ROUNDS = 3
QUICK_ROUNDS = 1


def configure(group: argparse._ArgumentGroup, positive: Callable[[str], int]) -> None:
    """Declare this workload's options."""
    group.add_argument(
        "--sessions", metavar="N", type=positive, default=100, help="open at a time (default: %(default)s)"
    )


def steps(_: argparse.Namespace, rounds: int) -> int:
    """How much the progress bar has to go."""
    return rounds


def measure(options: argparse.Namespace, rounds: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Measure; the document is that of `babar_tls.bench.memory`."""
    from ..bench import memory  # noqa: PLC0415 - what --help does not need

    return memory.run(
        rounds=rounds, sessions=options.sessions, dsn=options.dsn, through=options.through, advance=advance
    )


def sheets(document: dict[str, Any]) -> list[Sheet]:
    """Its table."""
    rows = [(short_name(case), _median(case["resident"]), _median(case["traced"])) for case in document["cases"]]
    return [
        Sheet(
            f"Memory of an open session, KB ({document['parameters']['sessions']} open)",
            ("client", "in RAM", "allocated by Python"),
            rows,
            "What Python has allocated may be more than what is in RAM: of a buffer, only what was touched is.",
        )
    ]


def _median(figures: dict[str, Any] | None) -> str:
    return kilobytes(figures["median"] if figures is not None else None)
