"""A document beside an older one: how many times what it was, case by case.

::

    {
      "warnings": [what makes the two hard to compare],
      "cases": [{"case": …, "what": …, "unit": …, "old": …, "new": …, "ratio": new / old | null,
                 "better": true | false, null where there is no telling}],
      "gone": [cases that only the older one has], "added": [those that only the new one has]
    }
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .figures import ratio
from .metrics import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator


_NOISE = 0.05  # of a figure: below it nothing is called better or worse
_IGNORED = ("load", "versions")


def load(path: str) -> dict[str, Any]:
    """A document from a file.

    Raises:
        ConfigError: It cannot be read, or is none.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path!r} cannot be read: {getattr(exc, 'strerror', None) or 'it is no JSON'}") from exc
    if not isinstance(document, dict) or not {"workload", "machine", "parameters"} <= document.keys():
        raise ConfigError(f"{path!r} is no benchmark's document", remedy="--json FILE writes one.")
    return document


def compare(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Compare.

    Raises:
        ConfigError: They are of different workloads.
    """
    if old["workload"] != new["workload"]:
        raise ConfigError(f"a document of {old['workload']} cannot be compared with one of {new['workload']}")
    before = {(metric.case, metric.kind.key): metric for metric in metrics(old)}
    after = {(metric.case, metric.kind.key): metric for metric in metrics(new)}
    cases = []
    for key, metric in after.items():
        if key in before:
            times = ratio(metric.value, before[key].value)
            cases.append(
                {
                    "case": metric.case,
                    "what": metric.kind.label,
                    "unit": metric.kind.unit,
                    "old": before[key].value,
                    "new": metric.value,
                    "ratio": times,
                    "better": _better(times, less_is_better=metric.kind.less_is_better),
                }
            )
    old_names, new_names = ({case for case, _ in figures} for figures in (before, after))
    return {
        "warnings": list(_differences(old, new)),
        "cases": cases,
        "gone": sorted(old_names - new_names),
        "added": sorted(new_names - old_names),
    }


def _better(times: float | None, *, less_is_better: bool) -> bool | None:
    if times is None or abs(times - 1) <= _NOISE:
        return None
    return (times < 1) == less_is_better


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What is not the same in the two."""
    machines = old["machine"], new["machine"]
    for name in sorted({*machines[0], *machines[1]} - set(_IGNORED)):
        yield from _difference(name, *(machine.get(name) for machine in machines))
    versions = [machine.get("versions", {}) for machine in machines]
    for name in sorted({*versions[0], *versions[1]}):
        yield from _difference(name, *(found.get(name) for found in versions))
    for name in ("babar_tls", "implementation", "server"):
        yield from _difference(name, old.get(name), new.get(name))
    for name in sorted({*old["parameters"], *new["parameters"]}):
        yield from _difference(f"parameter {name}", old["parameters"].get(name), new["parameters"].get(name))


def _difference(name: str, old: object, new: object) -> Iterator[str]:
    if old != new:
        yield f"{name} is not the same: {old} then, {new} now"
