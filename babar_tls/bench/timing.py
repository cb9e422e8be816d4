"""Timing of several cases in turns, so that a disturbance of the machine affects all cases alike."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .summaries import summary

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Reports progress; called with the number of finished steps.
Advance = Callable[[int], object]
#: The CPU time of the process in nanoseconds, threads of native code included.
PROCESS: Callable[[], int] = time.process_time_ns
#: The CPU time of the thread, where the system has such a clock. It excludes the thread of a progress bar.
THREAD: Callable[[], int] = getattr(time, "thread_time_ns", PROCESS)


_SEED = 0
_INTERVAL = 0.001  # seconds
_IDLE = 200_000  # nanoseconds of CPU time in an interval; waiting also uses CPU time
_TIMEOUT = 0.1  # seconds


def no_progress(_: int) -> None:
    """Report nothing."""


def settle() -> None:
    """Wait until this process uses no more CPU time, but not longer than a tenth of a second.

    Some clients continue work in their own threads after they have returned. That work must not count for the next
    client.
    """
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        before = PROCESS()
        time.sleep(_INTERVAL)
        if PROCESS() - before < _IDLE:
            return


@dataclass(frozen=True)
class Sample:
    """Times in seconds that a call has measured, for calls of which only a part is measured."""

    wall: float
    cpu: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """A function to measure.

    Attributes:
        name: A unique name.
        call: The function. If it returns a `Sample`, that replaces the measurement.
        operations: The number of operations in one call; times are of one operation.
        prepare: Called before each call, and not timed.
        finish: Called after each call, also after a failure, and not timed.
        clock: The CPU clock, `THREAD` or `PROCESS`.
    """

    name: str
    call: Callable[[], object]
    operations: int = 1
    prepare: Callable[[], object] = lambda: None
    finish: Callable[[], object] = lambda: None
    clock: Callable[[], int] = THREAD


@dataclass(frozen=True)
class Series:
    """The times of one case in each round, in seconds of one operation.

    Attributes:
        wall: Wall-clock times.
        cpu: CPU times.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def as_dict(self, *, samples: bool = False) -> dict[str, Any]:
        """Return the summaries of both clocks; with `samples` also all wall-clock times."""
        return {"wall": summary(self.wall, samples=samples), "cpu": summary(self.cpu)}


def time_cases(cases: Sequence[Case], rounds: int, advance: Advance = no_progress) -> dict[str, Series]:
    """Run every case once in each round, after one round that does not count.

    Each round has another random order, and each run the same sequence of orders. In a fixed order, a case would always
    follow the same one, and would be charged for its effects (cold caches, running threads). In one experiment these
    were up to a quarter of the CPU time of a connect.

    The garbage collector runs between rounds only.

    Args:
        cases: The cases.
        rounds: The number of rounds, at least one.
        advance: Called with 1 after each round.

    Returns:
        A series for each case, by name, in the order of `cases`.
    """
    series = {case.name: Series() for case in cases}
    collecting = gc.isenabled()
    for case in cases:
        run_case(case)
    shuffle = random.Random(_SEED)  # noqa: S311 - not for secrets
    gc.disable()
    try:
        for _ in range(max(1, rounds)):
            gc.collect()
            for case in shuffle.sample(cases, len(cases)):
                sample = run_case(case)
                series[case.name].wall.append(sample.wall / case.operations)
                series[case.name].cpu.append(sample.cpu / case.operations)
            advance(1)
    finally:
        if collecting:
            gc.enable()
    return series


def run_case(case: Case) -> Sample:
    """Run a case once, and return its times."""
    case.prepare()
    try:
        cpu, wall = case.clock(), time.perf_counter_ns()
        result = case.call()
        wall, cpu = time.perf_counter_ns() - wall, case.clock() - cpu
    finally:
        case.finish()
    return result if isinstance(result, Sample) else Sample(wall / 1e9, cpu / 1e9)
