"""Percentiles are between the values that they are of, and summaries tell them."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.bench.figures import percentile, ratio, summary, target

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)
percents = st.floats(0, 100)


@given(values, percents)
def test_within(numbers: list[float], percent: float) -> None:
    """A percentile is no less than the least value and no more than the greatest."""
    assert min(numbers) <= percentile(numbers, percent) <= max(numbers)


@given(values, percents, percents)
def test_monotonous(numbers: list[float], one: float, other: float) -> None:
    """A higher percentile is no smaller, up to rounding."""
    low, high = sorted((one, other))
    assert percentile(numbers, low) <= percentile(numbers, high) + 1e-6


@given(values, st.randoms(use_true_random=False))
def test_order_does_not_matter(numbers: list[float], random: object) -> None:
    """The order of the values makes no difference."""
    shuffled = list(numbers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis's own Random
    assert percentile(shuffled, 90) == percentile(numbers, 90)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_as_the_standard_library_has_it(numbers: list[float]) -> None:
    """Whole percents are those of `statistics.quantiles`, inclusive, and the fiftieth is the median."""
    quantiles = statistics.quantiles(numbers, n=100, method="inclusive")
    assert percentile(numbers, 90) == pytest.approx(quantiles[89], abs=1e-6)
    assert percentile(numbers, 50) == pytest.approx(statistics.median(numbers), abs=1e-6)


@pytest.mark.parametrize(("numbers", "percent"), [([], 50), ([1.0], -1), ([1.0], 101)])
def test_nonsense(numbers: list[float], percent: float) -> None:
    """No values have no percentiles, and there are a hundred."""
    with pytest.raises(ValueError, match="percentile"):
        percentile(numbers, percent)


def test_summary() -> None:
    """A summary has the samples only where they are asked for, in their order."""
    assert summary([3.0, 1.0, 2.0]) == pytest.approx({"min": 1, "median": 2, "p90": 2.8, "p99": 2.98, "max": 3})
    assert summary([3.0, 1.0, 2.0], samples=True)["samples"] == [3.0, 1.0, 2.0]


def test_targets() -> None:
    """A target is met at its bound, missed beyond it, and neither where nothing was measured."""
    assert target("x", 3.0, at_least=3.0)["met"] is True
    assert target("x", 2.9, at_least=3.0)["met"] is False
    assert target("x", 0.2, at_most=0.2)["met"] is True
    assert target("x", 0.3, at_most=0.2, unit="times") == {
        "name": "x", "at_most": 0.2, "measured": 0.3, "met": False, "unit": "times"
    }  # fmt: skip
    assert target("x", None, at_most=1)["met"] is None


def test_ratio() -> None:
    """There is no ratio of what was not measured, and none to nothing."""
    assert ratio(1.0, 2.0) == 0.5
    assert ratio(None, 2.0) is ratio(1.0, None) is ratio(1.0, 0.0) is None
