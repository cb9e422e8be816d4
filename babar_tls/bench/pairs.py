"""Timing of two cases in pairs: the figure of interest is the ratio of the two times in each pair.

The two cases of a pair run directly after each other, so that a slower machine slows both. The order alternates
(A B, B A), because the second case of a pair can find warmer caches.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .summaries import ratio, summary_of_known
from .timing import Advance, Case, Series, no_progress, run_case

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Pair:
    """Two cases that do the same work.

    Attributes:
        subject: The case that is compared.
        reference: The case with which it is compared.
        repeats: How often the pair runs in each round.
        subject_times: The times of `subject`.
        reference_times: The times of `reference`, in the same order.
    """

    subject: Case
    reference: Case
    repeats: int = 1
    subject_times: Series = field(default_factory=Series)
    reference_times: Series = field(default_factory=Series)

    def as_dict(self) -> dict[str, Any]:
        """Return summaries of the times of both cases, and of the ratios (`subject` / `reference`) of the pairs."""
        return {
            **self.subject_times.as_dict(),
            "reference": self.reference_times.as_dict(),
            "ratio": _ratios(self.subject_times.wall, self.reference_times.wall),
            "cpu_ratio": _ratios(self.subject_times.cpu, self.reference_times.cpu),
        }

    def run(self, *, reference_first: bool) -> None:
        """Run both cases, and record their times."""
        both = [(self.subject, self.subject_times), (self.reference, self.reference_times)]
        for case, series in reversed(both) if reference_first else both:
            sample = run_case(case)
            series.wall.append(sample.wall / case.operations)
            series.cpu.append(sample.cpu / case.operations)


def time_pairs(pairs: Sequence[Pair], rounds: int, advance: Advance = no_progress) -> None:
    """Run every pair in each round, after one run of each case that does not count.

    The garbage collector runs before each pair only.

    Args:
        pairs: The pairs.
        rounds: The number of rounds, at least one.
        advance: Called with 1 after each round.
    """
    collecting = gc.isenabled()
    for pair in pairs:
        run_case(pair.reference)
        run_case(pair.subject)
    gc.disable()
    try:
        for index in range(max(1, rounds)):
            for pair in pairs:
                for repeat in range(pair.repeats):
                    gc.collect()
                    pair.run(reference_first=(index + repeat) % 2 == 0)
            advance(1)
    finally:
        if collecting:
            gc.enable()


def _ratios(subject: Sequence[float], reference: Sequence[float]) -> dict[str, Any] | None:
    """Return the summary of the ratios; None if a coarse clock measured no time."""
    return summary_of_known(map(ratio, subject, reference))
