"""Paired measurement: each round runs every case once, so that a noisy neighbour disturbs all of them alike."""

from __future__ import annotations

import gc
import random
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .figures import summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


#: The whole process's CPU time, in nanoseconds: threads of native code are in it.
PROCESS: Callable[[], int] = time.process_time_ns
#: The thread's own CPU time where it is to be had: a progress bar's does not count.
THREAD: Callable[[], int] = getattr(time, "thread_time_ns", PROCESS)


_SEED = 0
_MOMENT = 0.001  # seconds
_AT_REST = 200_000  # nanoseconds of CPU time in a moment: what waiting itself costs, and some more
_PATIENCE = 0.1  # seconds


def settle() -> None:
    """Wait until this process is at rest, or for as long as it is worth waiting.

    What a client still does in threads of its own, after it has said that it is done, must not count for the next one.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        before = PROCESS()
        time.sleep(_MOMENT)
        if PROCESS() - before < _AT_REST:
            return


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Sample:
    """What a call says itself that it took, in seconds, where only a part of it is to count."""

    wall: float
    cpu: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something to measure.

    Attributes:
        name: Unique in a measurement.
        call: What is timed; if it returns a `Sample`, that counts in place of the clocks.
        operations: How many operations one call is; times are given for one operation.
        prepare: Called before each call, and not timed.
        finish: Called after each call, even one that failed, and not timed.
        clock: CPU time in nanoseconds, `THREAD` or `PROCESS`.
    """

    name: str
    call: Callable[[], object]
    operations: int = 1
    prepare: Callable[[], object] = _nothing
    finish: Callable[[], object] = _nothing
    clock: Callable[[], int] = THREAD


@dataclass(frozen=True)
class Series:
    """What one case took, round by round, in seconds an operation.

    Attributes:
        wall: By the wall clock.
        cpu: CPU time by the case's clock.
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

    def as_dict(self, *, samples: bool = False) -> dict[str, Any]:
        """Both clocks' summaries; with `samples`, every round of the wall clock too."""
        return {"wall": summary(self.wall, samples=samples), "cpu": summary(self.cpu)}


def measure(cases: Sequence[Case], rounds: int, advance: Callable[[int], object] | None = None) -> dict[str, Series]:
    """Run every case once in each round, after a round that does not count.

    The order is another one in each round, and the same in each run. Where it only began elsewhere, every case would
    always follow the same one, and whatever that leaves behind (cold caches, threads that are not done) would be
    counted for it in all rounds: up to a quarter of a connect's CPU time, where it was tried.

    The garbage collector runs between rounds, never within.

    Args:
        cases: What to measure.
        rounds: How often; at least once.
        advance: Called with 1 after each round.

    Returns:
        A series for each case, by name, in the order of `cases`.
    """
    series = {case.name: Series() for case in cases}
    collecting = gc.isenabled()
    for case in cases:
        _run(case)
    shuffle = random.Random(_SEED)  # noqa: S311 - nothing is to be kept secret
    gc.disable()
    try:
        for _ in range(max(1, rounds)):
            gc.collect()
            for case in shuffle.sample(cases, len(cases)):
                sample = _run(case)
                series[case.name].wall.append(sample.wall / case.operations)
                series[case.name].cpu.append(sample.cpu / case.operations)
            if advance is not None:
                advance(1)
    finally:
        if collecting:
            gc.enable()
    return series


def _run(case: Case) -> Sample:
    case.prepare()
    try:
        cpu, wall = case.clock(), time.perf_counter_ns()
        result = case.call()
        wall, cpu = time.perf_counter_ns() - wall, case.clock() - cpu
    finally:
        case.finish()
    return result if isinstance(result, Sample) else Sample(wall / 1e9, cpu / 1e9)
