"""All workloads on the command line, with short settings, and the one table that says which engine to pick."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..bench import WORKLOADS
from ._bench_tables import Sheet, count, kilobytes, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


# Of a short run; 0: each workload's own idea of one.
ROUNDS = 0
QUICK_ROUNDS = 1

_SHORT = {"megabytes": 64, "count": 300, "concurrency": 50, "sessions": 30}
_SHORTEST = {"megabytes": 4, "count": 40, "concurrency": 10, "sessions": 10}


def configure(group: argparse._ArgumentGroup, positive: Callable[[str], int]) -> None:
    """It has everybody's options."""


def inner(name: str) -> ModuleType:
    """A workload's side on the command line."""
    return import_module(f"._bench_{name}", __package__)


def steps(options: argparse.Namespace, rounds: int) -> int:
    """How much the progress bar has to go."""
    return sum(inner(name).steps(options, rounds or inner(name).QUICK_ROUNDS) for name in WORKLOADS)


def measure(options: argparse.Namespace, rounds: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Measure everything; the document is that of `babar_tls.bench.overview`."""
    from ..bench import overview  # noqa: PLC0415 - what --help does not need

    settings = _SHORTEST if options.quick else _SHORT
    short = argparse.Namespace(**{**vars(options), **settings})
    if options.count:
        short.count = options.count
    documents = {name: inner(name).measure(short, rounds or inner(name).QUICK_ROUNDS, advance) for name in WORKLOADS}
    return overview.run(documents, {"rounds": rounds or None, "rtt": list(options.rtt), **settings})


def sheets(document: dict[str, Any]) -> list[Sheet]:
    """The table of engines."""
    engines = document["engines"]
    lines: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("connect, ms", lambda engine: milliseconds(engine["connect"])),
        ("  with cached keys, ms", lambda engine: milliseconds(engine["connect_cached"])),
        ("  client CPU, ms", lambda engine: milliseconds(engine["cpu"])),
        ("handshake alone, ms", lambda engine: milliseconds(engine["handshake"])),
        ("round trips", lambda engine: count(engine["round_trips"])),
        ("  with direct TLS", lambda engine: count(engine["round_trips_direct"])),
        ("stream, MB/s", lambda engine: count(engine["megabytes_per_second"])),
        ("memory of a session, KB", lambda engine: kilobytes(engine["resident"])),
        ("what it can do", lambda engine: str(engine["abilities"])),
    ]
    rows = [(label, *(figure(engine) for engine in engines)) for label, figure in lines]
    return [Sheet("Which engine?", ("", *(engine["backend"] for engine in engines)), rows, _advice(engines))]


def _advice(engines: list[dict[str, Any]]) -> str:
    """A plain word on the figures above."""
    found = []
    for figure, words, best in (
        ("connect", "connects fastest", min),
        ("cpu", "costs the least CPU to connect", min),
        ("megabytes_per_second", "streams fastest", max),
        ("resident", "keeps the least memory", min),
    ):
        measured = {engine["backend"]: engine[figure] for engine in engines if engine[figure] is not None}
        if len(measured) > 1:
            found.append(f"{best(measured, key=measured.__getitem__)} {words}")
    return f"Here {', '.join(found)}." if found else ""
