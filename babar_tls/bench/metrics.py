"""The figures of any document as one flat list: what comparing and plotting need, whatever the workload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(NamedTuple):
    """What is measured.

    Attributes:
        key: Its key in a case.
        label: For people.
        unit: What `scale` makes of it.
        scale: Times the value in the document.
        less_is_better: As it says.
    """

    key: str
    label: str
    unit: str
    scale: float = 1.0
    less_is_better: bool = True


class Metric(NamedTuple):
    """One figure: a number, or a median with its spread."""

    case: str
    kind: Kind
    value: float
    low: float
    high: float


_KINDS = (
    Kind("wall", "wall clock", "ms", 1e3),
    Kind("cpu", "client CPU", "ms", 1e3),
    Kind("megabytes_per_second", "throughput", "MB/s", less_is_better=False),
    Kind("cpu_per_gigabyte", "client CPU for a gigabyte", "s"),
    Kind("seconds", "all connects", "s"),
    Kind("cpu_per_connect", "client CPU for a connect", "ms", 1e3),
    Kind("stall", "stall of the loop", "ms", 1e3),
    Kind("worst_stall", "worst stall of the loop", "ms", 1e3),
    Kind("failed", "failed connects", ""),
    Kind("round_trips", "round trips", ""),
    Kind("first", "round trips of the first connect", ""),
    Kind("resident", "memory for a session", "KB", 1e-3),
    Kind("traced", "of it Python's", "KB", 1e-3),
    Kind("growth", "growth over all connects", "KB", 1e-3),
)


def metrics(document: dict[str, Any]) -> Iterator[Metric]:
    """Every figure of a document; of one that holds others, theirs, each with its workload's name before the case's."""
    for workload, inner in document.get("documents", {}).items():
        for metric in metrics(inner):
            yield metric._replace(case=f"{workload}: {metric.case}")
    for case in [*document.get("cases", []), *document.get("derivations", []), *document.get("end_point", [])]:
        for kind in _KINDS:
            found = _metric(case, kind)
            if found is not None:
                yield found


def _metric(case: dict[str, Any], kind: Kind) -> Metric | None:
    value: Any = case.get(kind.key)
    summarized = isinstance(value, dict)
    figures = [value.get(name) if summarized else value for name in ("median", "min", "p90")]
    if None in figures:
        return None
    middle, low, high = (float(figure) * kind.scale for figure in figures)
    return Metric(case["name"], kind, middle, low, high)
