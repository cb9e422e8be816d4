"""Numbers about numbers: percentiles, summaries, and targets that are met or missed."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_DIGITS = 9  # a nanosecond: more would be noise, and a longer document


def percentile(values: Iterable[float], percent: float) -> float:
    """The value below which `percent` of 100 lie, interpolated between the two nearest.

    Raises:
        ValueError: There are no values, or `percent` is not within 0 and 100.
    """
    ordered = sorted(values)
    if not ordered or not 0 <= percent <= 100:
        raise ValueError("a percentile is of at least one value, and between 0 and 100")
    position = (len(ordered) - 1) * percent / 100
    below, above = ordered[math.floor(position)], ordered[math.ceil(position)]
    return below + (above - below) * (position - math.floor(position))


def summary(values: Sequence[float], *, samples: bool = False) -> dict[str, Any]:
    """Minimum, median, the 90th and 99th percentile, and maximum; with `samples`, the values themselves too."""
    figures: dict[str, Any] = {
        "min": min(values),
        "median": statistics.median(values),
        "p90": percentile(values, 90),
        "p99": percentile(values, 99),
        "max": max(values),
    }
    if samples:
        figures["samples"] = [round(value, _DIGITS) for value in values]
    return figures


def summary_of_known(values: Iterable[float | None]) -> dict[str, Any] | None:
    """The summary of those values that could be found out, `None` if none could."""
    known = [value for value in values if value is not None]
    return summary(known) if known else None


def median(case: dict[str, Any] | None, clock: str) -> float | None:
    """The median of a case by one clock, `None` if there is no such case."""
    return case[clock]["median"] if case is not None else None


def ratio(measured: float | None, reference: float | None) -> float | None:
    """How many times the reference, `None` where either was not measured."""
    return measured / reference if measured is not None and reference else None


def target(name: str, measured: float | None, *, unit: str | None = None, **bound: float) -> dict[str, Any]:
    """Something wanted: met or missed, or neither where it was not measured.

    Args:
        name: What is wanted.
        measured: What there is.
        unit: ``times`` another, ``seconds``, ``round trips``, ``connects``; left out of the result where it is `None`.
        bound: ``at_least`` or ``at_most``.
    """
    met = None
    if measured is not None:
        met = measured >= bound["at_least"] if "at_least" in bound else measured <= bound["at_most"]
    described = {"name": name, **bound, "measured": measured, "met": met}
    return described if unit is None else {**described, "unit": unit}
