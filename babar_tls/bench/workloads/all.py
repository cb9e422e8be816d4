"""All workloads with short runs, and a table that compares the backends.

The document, besides the fields in `babar_tls.bench.document` (its ``cases`` are empty)::

    "documents": {workload: its document},
    "backends": [{"backend": …, "connect": seconds, "connect_cached": …, "cpu": …, "handshake": …, "round_trips": …,
                  "round_trips_direct": …, "megabytes_per_second": …, "resident": bytes of a session,
                  "abilities": one line}]

A figure is a median of the blocking style, or None if it was not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...backends import backend_status
from ..client_spec import OURS, find
from ..document import DocumentBuilder
from ..tables import Table, milliseconds, number
from ..timing import Advance, no_progress
from ..workload import Workload
from . import connect, drivers, handshake, kdf, memory, roundtrips, scale, storm, stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...backends import BackendStatus


_EACH = {
    module.WORKLOAD.name: module.WORKLOAD
    for module in (connect, handshake, kdf, stream, storm, roundtrips, memory, scale, drivers)
}

_SHORT = {
    "megabytes": 64,
    "count": 300,
    "concurrency": 50,
    "sessions": 30,
    "queries": 200,
    "bulk": 20,
    "rows": 100_000,
    "pool": 20,
}
_ABILITIES = {
    "crls": "revocation lists",
    "key_log": "key log",
    "client_keys": "client certificates",
    "common_names": "libpq's names",
}
_QUICK = {
    "megabytes": 4,
    "count": 40,
    "concurrency": 10,
    "sessions": 10,
    "queries": 20,
    "bulk": 1,
    "rows": 1000,
    "pool": 5,
}


def measure(
    *,
    rounds: int = 0,
    quick: bool = False,
    count: int | None = None,
    iterations: int = 4096,
    rtt: Sequence[float] = (),
    dsn: str | None = None,
    advance: Advance = no_progress,
) -> dict[str, Any]:
    """Measure all workloads; `rounds` 0 selects the number of rounds with ``--quick`` of each."""
    sizes = _QUICK if quick else _SHORT
    shared = {"rounds": rounds, "quick": True, "iterations": iterations, "rtt": rtt, "dsn": dsn}
    options = {**sizes, **shared, "through": None, "uvloop": False, "count": count or sizes["count"]}
    documents = {name: workload.run(options, advance) for name, workload in _EACH.items()}
    return combine(documents, {"rounds": rounds or None, "rtt": list(rtt), **sizes})


def combine(documents: Mapping[str, dict[str, Any]], parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the document of all workloads, from the documents of some or all of them."""
    document = DocumentBuilder("all", parameters)
    for inner in documents.values():
        for item in inner["missing"]:
            document.add_missing(**item)
    backends = [_backend(status, documents) for status in backend_status() if status.problem is None]
    server = next((inner["server"] for inner in documents.values() if inner["server"]), None)
    return document.finish([], server=server, backends=backends, documents=dict(documents))


def _backend(status: BackendStatus, documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    def figure(workload: str, *path: str, **wanted: Any) -> Any:
        value: Any = find(documents.get(workload, {}).get("cases", []), backend=status.name, **wanted)
        for key in path:
            value = value[key] if value is not None else None
        return value

    near = {"driver": OURS, "style": "blocking", "direct": False, "rtt": None}
    sizes = documents["stream"]["parameters"]["row_bytes"] if "stream" in documents else [None]
    return {
        "backend": status.name,
        "connect": figure("connect", "wall", "median", key_cache=False, **near),
        "connect_cached": figure("connect", "wall", "median", key_cache=True, **near),
        "cpu": figure("connect", "cpu", "median", key_cache=False, **near),
        "handshake": figure("handshake", "wall", "median", vary="key", key="p256"),
        "round_trips": figure("roundtrips", "round_trips", style="blocking", direct=False),
        "round_trips_direct": figure("roundtrips", "round_trips", style="blocking", direct=True),
        "megabytes_per_second": figure("stream", "megabytes_per_second", style="blocking", row_bytes=max(sizes)),
        "resident": figure("memory", "resident", "median", style="blocking"),
        "abilities": _abilities(status),
    }


def _abilities(status: BackendStatus) -> str:
    facts = status.capabilities
    if facts is None:
        return ""
    words = [", ".join(version.value for version in facts.tls_versions)]
    words += [f"binds by {', '.join(facts.channel_bindings)}"] if facts.channel_bindings else []
    words += [name if getattr(facts, field) else f"no {name}" for field, name in _ABILITIES.items()]
    return "; ".join(words)


def tables(document: dict[str, Any]) -> list[Table]:
    """Return the table of backends."""
    backends = document["backends"]
    lines = {
        "connect, ms": [milliseconds(backend["connect"]) for backend in backends],
        "  with cached keys, ms": [milliseconds(backend["connect_cached"]) for backend in backends],
        "  client CPU, ms": [milliseconds(backend["cpu"]) for backend in backends],
        "handshake only, ms": [milliseconds(backend["handshake"]) for backend in backends],
        "round trips": [number(backend["round_trips"]) for backend in backends],
        "  with direct TLS": [number(backend["round_trips_direct"]) for backend in backends],
        "stream, MB/s": [number(backend["megabytes_per_second"]) for backend in backends],
        "memory of a session, KB": [number(backend["resident"], scale=1e-3) for backend in backends],
        "supports": [backend["abilities"] for backend in backends],
    }
    headings = ("", *(backend["backend"] for backend in backends))
    return [Table("Backends", headings, [(label, *cells) for label, cells in lines.items()], _best(backends))]


def _best(backends: list[dict[str, Any]]) -> str:
    found = []
    for figure, words, best in (
        ("connect", "connects fastest", min),
        ("cpu", "uses the least CPU time to connect", min),
        ("megabytes_per_second", "streams fastest", max),
        ("resident", "uses the least memory", min),
    ):
        measured = {backend["backend"]: backend[figure] for backend in backends if backend[figure] is not None}
        if len(measured) > 1:
            found.append(f"{best(measured, key=measured.__getitem__)} {words}")
    return f"On this machine {', '.join(found)}." if found else ""


def _steps(rounds: int, distances: int) -> int:
    return sum(workload.steps(rounds or workload.quick_rounds, distances) for workload in _EACH.values())


WORKLOAD = Workload(
    name="all",
    summary="all workloads with short runs, and a table of the backends",
    measure=measure,
    tables=tables,
    rounds=0,
    quick_rounds=1,
    shared_options=("dsn", "rtt", "count", "iterations", "quick"),
    steps=_steps,
)

#: All workloads by name.
WORKLOADS = {**_EACH, WORKLOAD.name: WORKLOAD}
