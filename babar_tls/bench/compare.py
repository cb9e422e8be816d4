"""Comparison of a document with an older one, and the figures of any document as one flat list.

A comparison is::

    {
      "warnings": [differences between the two runs],
      "cases": [{"case": …, "what": …, "unit": …, "old": …, "new": …, "ratio": new / old | null,
                 "better": true | false | null if the difference is too small}],
      "gone": [cases of the older document only], "added": [cases of the newer document only]
    }
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConfigError
from .summaries import ratio

if TYPE_CHECKING:
    from collections.abc import Iterator


_NOISE = 0.05  # smaller relative differences are neither better nor worse
_IGNORED = ("load", "versions")


class Kind(NamedTuple):
    """A kind of figure.

    Attributes:
        key: The key in a case.
        label: A label for people.
        unit: The unit of the scaled value.
        scale: The factor for the value in the document.
        less_is_better: True if a smaller value is better.
    """

    key: str
    label: str
    unit: str
    scale: float = 1.0
    less_is_better: bool = True


class Metric(NamedTuple):
    """One figure: a number, or a median with minimum and 90th percentile."""

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
    Kind("ratio", "time, x own TLS", ""),
    Kind("cpu_ratio", "client CPU, x own TLS", ""),
    Kind("seconds", "all connects", "s"),
    Kind("cpu_per_connect", "client CPU for a connect", "ms", 1e3),
    Kind("stall", "stall of the event loop", "ms", 1e3),
    Kind("worst_stall", "worst stall of the event loop", "ms", 1e3),
    Kind("failed", "failed connects", ""),
    Kind("round_trips", "round trips", ""),
    Kind("first", "round trips of the first connect", ""),
    Kind("resident", "memory of a session", "KB", 1e-3),
    Kind("traced", "memory of a session allocated by Python", "KB", 1e-3),
    Kind("growth", "growth over all connects", "KB", 1e-3),
)


def metrics(document: dict[str, Any]) -> Iterator[Metric]:
    """Yield every figure of a document; in the cases of an inner document with the name of its workload."""
    for workload, inner in document.get("documents", {}).items():
        for metric in metrics(inner):
            yield metric._replace(case=f"{workload}: {metric.case}")
    for case in [*document.get("cases", []), *document.get("derivations", []), *document.get("end_point", [])]:
        for kind in _KINDS:
            value: Any = case.get(kind.key)
            figures: list[Any] = [
                value.get(name) if isinstance(value, dict) else value for name in ("median", "min", "p90")
            ]
            if None not in figures:
                yield Metric(case["name"], kind, *(float(figure) * kind.scale for figure in figures))


def compare(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the comparison.

    Raises:
        ConfigError: The documents are of different workloads.
    """
    if old["workload"] != new["workload"]:
        raise ConfigError(f"a document of {old['workload']} cannot be compared with one of {new['workload']}")
    before, after = ({(metric.case, metric.kind.key): metric for metric in metrics(one)} for one in (old, new))
    cases = []
    for key, metric in after.items():
        if key in before:
            factor = ratio(metric.value, before[key].value)
            cases.append(
                {
                    "case": metric.case,
                    "what": metric.kind.label,
                    "unit": metric.kind.unit,
                    "old": before[key].value,
                    "new": metric.value,
                    "ratio": factor,
                    "better": _is_better(factor, metric.kind),
                }
            )
    old_names, new_names = ({case for case, _ in figures} for figures in (before, after))
    return {
        "warnings": list(_differences(old, new)),
        "cases": cases,
        "gone": sorted(old_names - new_names),
        "added": sorted(new_names - old_names),
    }


def _is_better(factor: float | None, kind: Kind) -> bool | None:
    if factor is None or abs(factor - 1) <= _NOISE:
        return None
    return (factor < 1) == kind.less_is_better


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Yield the differences in machine, versions and parameters."""
    before, after = (
        {
            **{name: value for name, value in document["machine"].items() if name not in _IGNORED},
            **document["machine"].get("versions", {}),
            **{name: document.get(name) for name in ("babar_tls", "implementation", "server")},
            **{f"parameter {name}": value for name, value in document["parameters"].items()},
        }
        for document in (old, new)
    )
    for name in before | after:
        if before.get(name) != after.get(name):
            yield f"{name} differs: {before.get(name)} in the older document, {after.get(name)} in the newer one"
