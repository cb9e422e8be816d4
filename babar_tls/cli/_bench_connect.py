"""The workload ``connect`` on the command line: its options, and its document as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bench_tables import Sheet, milliseconds, short_name, spread, times

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


ROUNDS = 100
QUICK_ROUNDS = 10


def configure(group: argparse._ArgumentGroup, positive: Callable[[str], int]) -> None:
    """It has the options of all, and no others."""


def steps(options: argparse.Namespace, rounds: int) -> int:
    """How much the progress bar has to go."""
    from ..bench.connect import far_rounds  # noqa: PLC0415 - what --help does not need

    return rounds + far_rounds(rounds) * len(options.rtt)


def measure(options: argparse.Namespace, rounds: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Measure; the document is that of `babar_tls.bench.connect`."""
    from ..bench import connect  # noqa: PLC0415 - what --help does not need

    return connect.run(rounds=rounds, rtt=options.rtt, dsn=options.dsn, through=options.through, advance=advance)


def sheets(document: dict[str, Any]) -> list[Sheet]:
    """Its tables."""
    parameters = document["parameters"]
    near = [case for case in document["cases"] if case["rtt"] is None]
    tables = [
        Sheet(
            "Connect: TCP, TLS verified in full, SCRAM, ready, closed",
            ("client", "ms", "p90", "p99", "CPU ms", "x psycopg", "its CPU"),
            [
                (
                    short_name(case),
                    *spread(case, "wall"),
                    milliseconds(case["cpu"]["median"]),
                    times(case["times_psycopg"]["wall"]),
                    times(case["times_psycopg"]["cpu"]),
                )
                for case in near
            ],
            f"Medians of {parameters['rounds']} rounds, every one measuring everything in turn. "
            + (
                "The channel, which ends at the pooler, is not bound; ours and psycopg insist on SCRAM."
                if parameters.get("through")
                else "Ours and psycopg bind the channel."
            )
            + " A floor is not a driver: straight-line Python on one TLS library and our helper, without deadlines, "
            "policy or errors.",
        )
    ]
    compared = [case for case in near if case.get("times_floor")]
    if compared:
        rows = [
            (short_name(case), *(times(case["times_floor"][clock]) for clock in ("wall", "cpu"))) for case in compared
        ]
        note = "What a driver takes beyond the floor is the cost of its own code."
        tables.append(Sheet("Ours against the floor of its TLS library", ("client", "x floor", "its CPU"), rows, note))
    phased = [case for case in near if case.get("timings") and not case["direct"] and not case["key_cache"]]
    if phased:
        phases = list(phased[0]["timings"])
        rows = [(short_name(case), *(milliseconds(case["timings"][phase]) for phase in phases)) for case in phased]
        tables.append(Sheet("Its phases, ms (SSLRequest, no cached keys)", ("client", *phases), rows))
    if parameters["rtt"]:
        tables.append(_far(document))
    return tables


def _far(document: dict[str, Any]) -> Sheet:
    rtts = document["parameters"]["rtt"]
    found: dict[str, dict[float, str]] = {}
    for case in document["cases"]:
        if case["rtt"] is not None:
            name = short_name(case).removesuffix(f", {case['rtt']:g} ms away")
            found.setdefault(name, {})[case["rtt"]] = milliseconds(case["wall"]["median"], 1)
    rows = [(name, *(figures.get(rtt, "-") for rtt in rtts)) for name, figures in found.items()]
    return Sheet("The same across a network, ms until ready", ("client", *(f"RTT {rtt:g} ms" for rtt in rtts)), rows)
