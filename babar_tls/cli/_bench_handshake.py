"""The workload ``handshake`` on the command line: its document as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bench_tables import Sheet, count, milliseconds, spread

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


ROUNDS = 50
QUICK_ROUNDS = 5

_TITLES = {"key": "by the certificate's key", "group": "by the key-exchange group (certificate: p256)"}


def configure(group: argparse._ArgumentGroup, positive: Callable[[str], int]) -> None:
    """It has the options of all, and no others."""


def steps(_: argparse.Namespace, rounds: int) -> int:
    """How much the progress bar has to go."""
    return rounds


def measure(_: argparse.Namespace, rounds: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Measure; the document is that of `babar_tls.bench.handshake`."""
    from ..bench import handshake  # noqa: PLC0415 - what --help does not need

    return handshake.run(rounds=rounds, advance=advance)


def sheets(document: dict[str, Any]) -> list[Sheet]:
    """Its tables."""
    return [_sheet(document, vary, title) for vary, title in _TITLES.items()]


def _sheet(document: dict[str, Any], vary: str, title: str) -> Sheet:
    rows = [
        (
            case["backend"],
            case[vary],
            *spread(case, "wall"),
            milliseconds(case["cpu"]["median"]),
            count(case["flights"]),
            case["chosen_by"],
        )
        for case in document["cases"]
        if case["vary"] == vary
    ]
    headings = ("engine", vary, "ms", "p90", "p99", "CPU ms", "flights", "chosen by")
    return Sheet(f"The client's share of a handshake, {title}", headings, rows)
