"""The workload ``roundtrips`` on the command line: its document as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bench_tables import Sheet, count, milliseconds, short_name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


ROUNDS = 5
QUICK_ROUNDS = 2


def configure(group: argparse._ArgumentGroup, positive: Callable[[str], int]) -> None:
    """It has the options of all, and no others."""


def steps(options: argparse.Namespace, rounds: int) -> int:
    """How much the progress bar has to go."""
    return rounds * (1 + len(options.rtt))


def measure(options: argparse.Namespace, rounds: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Measure; the document is that of `babar_tls.bench.roundtrips`."""
    from ..bench import roundtrips  # noqa: PLC0415 - what --help does not need

    return roundtrips.run(rounds=rounds, rtt=options.rtt, dsn=options.dsn, through=options.through, advance=advance)


def sheets(document: dict[str, Any]) -> list[Sheet]:
    """Its table."""
    rtts = document["parameters"]["rtt"]
    rows = [
        (
            short_name(case),
            count(case["round_trips"]) if case["round_trips"] == case["fewest"] else _range(case),
            count(case["first"]),
            {True: "agrees", False: f"says {case['reported']}", None: "-"}[case["agrees"]],
            *(milliseconds(case["at_rtt"].get(f"{rtt:g}"), 1) for rtt in rtts),
        )
        for case in document["cases"]
    ]
    return [
        Sheet(
            "Round trips until ready, TCP's included, counted by a proxy",
            ("client", "round trips", "first connect", "own count", *(f"ms, RTT {rtt:g}" for rtt in rtts)),
            rows,
        )
    ]


def _range(case: dict[str, Any]) -> str:
    return f"{case['fewest']} to {case['round_trips']}"
