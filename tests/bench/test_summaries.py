"""Percentiles, summaries and ratios."""

from __future__ import annotations

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.bench.summaries import percentiles, ratio, summary

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(values)
def test_percentiles_are_between_the_extremes_and_in_order(numbers: list[float]) -> None:
    found = [min(numbers), *percentiles(numbers), max(numbers)]
    assert len(found) == 101
    assert all(low <= high + 1e-6 for low, high in itertools.pairwise(found))


@given(values)
def test_50th_percentile_is_the_median(numbers: list[float]) -> None:
    assert percentiles(numbers)[49] == pytest.approx(statistics.median(numbers), abs=1e-6)


@given(st.floats(-1e6, 1e6))
def test_percentiles_of_one_value_are_this_value(number: float) -> None:
    assert set(percentiles([number])) == {number}


def test_no_values_have_no_percentiles() -> None:
    with pytest.raises(statistics.StatisticsError):
        percentiles([])


def test_summary_has_samples_on_request() -> None:
    assert summary([3.0, 1.0, 2.0]) == pytest.approx({"min": 1, "median": 2, "p90": 2.8, "p99": 2.98, "max": 3})
    assert summary([3.0, 1.0, 2.0], samples=True)["samples"] == [3.0, 1.0, 2.0]


def test_ratio_of_an_unknown_value_is_none() -> None:
    assert ratio(1.0, 2.0) == 0.5
    assert ratio(None, 2.0) is ratio(1.0, None) is ratio(1.0, 0.0) is None
