"""Durations, times and the scale of an axis."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_TICKS = 5


def duration(seconds: float) -> str:
    """Return a duration for people, with two or three digits."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"


def moment(seconds: float) -> str:
    """Return a time in seconds since 1970 as a date and time in UTC."""
    try:
        return f"{_EPOCH + timedelta(seconds=math.floor(seconds)):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError):  # before the year 1 or after 9999, which certificates can contain
        return f"{seconds:.0f} seconds since 1970"


def ticks(length: float) -> list[float]:
    """Return the positions of the ticks of an axis from 0 to `length`, in seconds.

    The distance is 1, 2 or 5 times a power of ten, and at least a fifth of the length, so that labels do not overlap.
    """
    power = 10.0 ** math.floor(math.log10(length))
    step = next(step for step in (power / 5, power / 2, power, 2 * power) if length / step < _MAX_TICKS)
    return [number * step for number in range(math.floor(length / step + 1e-9) + 1)]


def tick_labels(positions: list[float]) -> list[str]:
    """Return the labels of ticks, all in the unit of the last one."""
    in_seconds = positions[-1] >= 1
    unit, factor = ("s", 1) if in_seconds else ("ms", 1000)
    return [f"{position * factor:.6g} {unit}" if position else f"0 {unit}" for position in positions]
