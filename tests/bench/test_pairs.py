"""Timing of pairs."""

from __future__ import annotations

import gc

import pytest

from babar_tls.bench.pairs import Pair, time_pairs
from babar_tls.bench.timing import Case, Sample


def pair_of(subject: Sample, reference: Sample, *, operations: int = 1) -> Pair:
    return Pair(
        *(Case(name=name, call=lambda sample=sample: sample, operations=operations)
          for name, sample in (("a", subject), ("b", reference))),
    )  # fmt: skip


def order_of(rounds: int, repeats: int) -> str:
    """Return the order of the calls of a pair, of which the first two do not count."""
    ran: list[str] = []
    subject, reference = (Case(name=name, call=lambda name=name: ran.append(name)) for name in "ab")
    pair = Pair(subject, reference, repeats)
    time_pairs([pair], rounds)
    assert len(pair.subject_times.wall) == len(pair.reference_times.cpu) == rounds * repeats
    return "".join(ran[2:])


@pytest.mark.parametrize(("rounds", "repeats"), [(1, 4), (4, 1), (2, 2), (2, 3)])
def test_order_of_a_pair_alternates(rounds: int, repeats: int) -> None:
    order = order_of(rounds, repeats)
    pairs = [order[start : start + 2] for start in range(0, len(order), 2)]
    assert len(pairs) == rounds * repeats
    assert abs(pairs.count("ab") - pairs.count("ba")) <= 1
    assert all(pairs[index] != pairs[index + 1] for index in range(repeats - 1))


def test_every_pair_runs_in_each_round() -> None:
    pairs = [pair_of(Sample(1, 1), Sample(1, 1)) for _ in range(3)]
    advanced: list[int] = []
    time_pairs(pairs, 2, advanced.append)
    assert advanced == [1, 1]
    assert [len(pair.subject_times.wall) for pair in pairs] == [2, 2, 2]


def test_ratio_is_the_median_of_the_ratios_of_pairs() -> None:
    """The ratio of the medians would be another number."""
    pair = pair_of(Sample(1, 1), Sample(1, 1))
    pair.subject_times.wall.extend([1.0, 10.0, 4.0])
    pair.reference_times.wall.extend([4.0, 5.0, 5.0])
    pair.subject_times.cpu.extend([1.0, 1.0, 1.0])
    pair.reference_times.cpu.extend([2.0, 2.0, 2.0])
    found = pair.as_dict()
    assert found["ratio"] == pytest.approx({"min": 0.25, "median": 0.8, "p90": 1.76, "p99": 1.976, "max": 2.0})
    assert found["cpu_ratio"]["median"] == 0.5
    assert found["reference"]["wall"]["median"] == 5.0


def test_times_are_seconds_of_one_operation() -> None:
    pair = pair_of(Sample(4.0, 2.0), Sample(2.0, 1.0), operations=2)
    time_pairs([pair], 1)
    assert (pair.subject_times.wall, pair.reference_times.cpu) == ([2.0], [0.5])


def test_clock_that_measured_no_time_has_no_ratio() -> None:
    pair = pair_of(Sample(1.0, 0.0), Sample(1.0, 0.0))
    time_pairs([pair], 2)
    assert pair.as_dict()["cpu_ratio"] is None


def test_garbage_collector_is_off_during_pairs_and_on_after_a_failure() -> None:
    enabled: list[bool] = []

    def fail() -> None:
        enabled.append(gc.isenabled())
        if len(enabled) == 2:
            raise LookupError

    with pytest.raises(LookupError):
        time_pairs([Pair(Case(name="a", call=fail), Case(name="b", call=lambda: None))], 1)
    assert enabled == [True, False]
    assert gc.isenabled()
