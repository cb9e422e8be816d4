"""Paired measurement: each round runs every case once, so that a noisy neighbour disturbs all of them alike."""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Case", "Series", "measure"]

# The thread's own CPU time where it is to be had: a progress bar's does not count.
_cpu_clock: Callable[[], int] = getattr(time, "thread_time_ns", time.process_time_ns)


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something to measure.

    Attributes:
        name: Unique in a measurement.
        call: What is timed.
        operations: How many operations one call is; times are given for one operation.
        prepare: Called before each call, and not timed.
    """

    name: str
    call: Callable[[], object]
    operations: int = 1
    prepare: Callable[[], object] = _nothing


@dataclass(frozen=True)
class Series:
    """What one case took, round by round, in seconds an operation.

    Attributes:
        wall: By the wall clock.
        cpu: CPU time of the measuring thread.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def minimum(self) -> float:
        """The best round's wall-clock time."""
        return min(self.wall)

    @property
    def median(self) -> float:
        """The middle round's wall-clock time."""
        return statistics.median(self.wall)

    def as_dict(self) -> dict[str, Any]:
        """Minimum and median of both clocks."""
        return {
            "wall": {"min": self.minimum, "median": self.median},
            "cpu": {"min": min(self.cpu), "median": statistics.median(self.cpu)},
        }


def measure(cases: Sequence[Case], rounds: int, advance: Callable[[int], object] | None = None) -> dict[str, Series]:
    """Run every case once in each round, each round beginning with another one, after a round that does not count.

    Args:
        cases: What to measure.
        rounds: How often; at least once.
        advance: Called with 1 after each round.

    Returns:
        A series for each case, by name, in the order of `cases`.
    """
    series = {case.name: Series() for case in cases}
    for case in cases:
        case.prepare()
        case.call()
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in range(max(1, rounds)):
            first = number % len(cases)
            for case in (*cases[first:], *cases[:first]):
                case.prepare()
                cpu, wall = _cpu_clock(), time.perf_counter_ns()
                case.call()
                wall, cpu = time.perf_counter_ns() - wall, _cpu_clock() - cpu
                series[case.name].wall.append(wall / case.operations / 1e9)
                series[case.name].cpu.append(cpu / case.operations / 1e9)
            if advance is not None:
                advance(1)
    finally:
        if collecting:
            gc.enable()
    return series
