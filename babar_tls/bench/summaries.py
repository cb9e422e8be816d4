"""Summaries and ratios of measured values."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_DIGITS = 9  # of a sample in seconds; more digits would be noise


def percentiles(values: Sequence[float]) -> list[float]:
    """Return the 1st to the 99th percentile of at least one value."""
    if len(values) == 1:  # `quantiles` requires two values
        return list(values) * 99
    return statistics.quantiles(values, n=100, method="inclusive")


def summary(values: Sequence[float], *, samples: bool = False) -> dict[str, Any]:
    """Return minimum, median, 90th and 99th percentile, and maximum; with `samples` also the values."""
    percents = percentiles(values)
    figures: dict[str, Any] = {
        "min": min(values),
        "median": statistics.median(values),
        "p90": percents[89],
        "p99": percents[98],
        "max": max(values),
    }
    if samples:
        figures["samples"] = [round(value, _DIGITS) for value in values]
    return figures


def summary_of_known(values: Iterable[float | None]) -> dict[str, Any] | None:
    """Return the summary of the values that are not None, or None if all are."""
    known = [value for value in values if value is not None]
    return summary(known) if known else None


def ratio(measured: float | None, reference: float | None) -> float | None:
    """Return `measured` / `reference`, or None if either was not measured or the reference is 0."""
    return measured / reference if measured is not None and reference else None


def ratios(case: dict[str, Any], reference: dict[str, Any] | None) -> dict[str, float | None]:
    """Return the medians of `case` divided by those of `reference`, for both clocks."""
    return {
        clock: ratio(case[clock]["median"], reference[clock]["median"] if reference else None)
        for clock in ("wall", "cpu")
    }
