"""Everything, short; and what it says about each engine, side by side.

The document, besides what `babar_tls.bench.record` says (its ``cases`` are empty)::

    "documents": {workload: its document},
    "engines": [{"backend": …, "connect": seconds, "connect_cached": …, "cpu": …, "handshake": …, "round_trips": …,
                 "round_trips_direct": …, "megabytes_per_second": …, "resident": bytes a session,
                 "abilities": in a line}]

A figure is a median, of the blocking style, and `None` where it could not be measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backends import backend_status
from .record import Record
from .spec import OURS, find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..backends import BackendStatus


def run(documents: Mapping[str, dict[str, Any]], parameters: dict[str, Any]) -> dict[str, Any]:
    """Put together what the workloads have measured.

    Args:
        documents: Theirs, by name; some may be missing.
        parameters: With what they ran.

    Returns:
        The document; see above.
    """
    record = Record("all", parameters)
    for document in documents.values():
        for item in document["missing"]:
            record.miss(item["name"], item["reason"])
    targets = [wanted for document in documents.values() for wanted in document["targets"]]
    engines = [_engine(status, documents) for status in backend_status() if status.problem is None]
    versions = [document["server"] for document in documents.values() if document.get("server")]
    server = versions[0] if versions else None
    return record.finish([], targets, server=server, engines=engines, documents=dict(documents))


def _engine(status: BackendStatus, documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    cases = {name: document.get("cases", []) for name, document in documents.items()}

    def figure(workload: str, *path: str, **wanted: Any) -> Any:
        value: Any = find(cases.get(workload, []), backend=status.name, **wanted)
        for key in path:
            value = value[key] if value is not None else None
        return value

    near = {"driver": OURS, "style": "blocking", "direct": False, "rtt": None}
    sizes = [case["row_bytes"] for case in cases.get("stream", [])]
    return {
        "backend": status.name,
        "connect": figure("connect", "wall", "median", key_cache=False, **near),
        "connect_cached": figure("connect", "wall", "median", key_cache=True, **near),
        "cpu": figure("connect", "cpu", "median", key_cache=False, **near),
        "handshake": figure("handshake", "wall", "median", vary="key", key="p256"),
        "round_trips": figure("roundtrips", "round_trips", style="blocking", direct=False),
        "round_trips_direct": figure("roundtrips", "round_trips", style="blocking", direct=True),
        "megabytes_per_second": figure(
            "stream", "megabytes_per_second", style="blocking", row_bytes=max(sizes, default=None)
        ),
        "resident": figure("memory", "resident", "median", style="blocking"),
        "abilities": _abilities(status),
    }


def _abilities(status: BackendStatus) -> str:
    """What tells it from the others, in a line."""
    facts = status.capabilities
    if facts is None:
        return ""
    words = [", ".join(version.value for version in facts.tls_versions)]
    words += [f"binds by {', '.join(facts.channel_bindings)}"] if facts.channel_bindings else []
    abilities = {
        "revocation lists": facts.crls,
        "key log": facts.key_log,
        "client certificates": facts.client_certificates,
        "libpq's names": facts.common_names,
    }
    words += [name if has else f"no {name}" for name, has in abilities.items()]
    return "; ".join(words)
