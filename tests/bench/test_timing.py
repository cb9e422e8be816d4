"""Timing of cases in turns."""

from __future__ import annotations

import gc
import itertools

import pytest

from babar_tls.bench import timing
from babar_tls.bench.timing import Case, Sample, Series, settle, time_cases


def rounds_of(names: str, rounds: int) -> list[str]:
    """Return the order of the cases in each round that counts."""
    ran: list[str] = []
    time_cases([Case(name=name, call=lambda name=name: ran.append(name)) for name in names], rounds)
    text = "".join(ran)
    assert text.startswith(names)
    return [text[start : start + len(names)] for start in range(len(names), len(text), len(names))]


def test_each_round_runs_every_case_once() -> None:
    """One round before does not count."""
    ran: list[str] = []
    cases = [Case(name=name, call=lambda name=name: ran.append(name)) for name in "abc"]
    advanced: list[int] = []
    series = time_cases(cases, 3, advanced.append)
    assert sorted(ran) == sorted("abc" * 4)
    assert advanced == [1, 1, 1]
    assert list(series) == ["a", "b", "c"]
    assert all(len(item.wall) == len(item.cpu) == 3 for item in series.values())
    assert [sorted(order) for order in rounds_of("abcd", 5)] == [list("abcd")] * 5


def test_rounds_have_different_orders_and_runs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gc.collect", lambda: None)  # slow in a process that has run many tests
    orders = rounds_of("abcdef", 60)
    assert orders == rounds_of("abcdef", 60)
    for name in "bcdef":
        assert sum(f"a{name}" in order for order in orders) < 30


def test_prepare_runs_before_each_call() -> None:
    ran: list[str] = []
    case = Case(name="a", prepare=lambda: ran.append("prepare"), call=lambda: ran.append("call"))
    time_cases([case], 2)
    assert ran == ["prepare", "call"] * 3


def test_times_are_seconds_of_one_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 10**12, 1000))
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(ticks))
    series = time_cases([Case(name="a", call=lambda: None, operations=10)], 1)["a"]
    assert series.wall == pytest.approx([1e-7])


def test_series_has_summaries_of_both_clocks() -> None:
    document = Series([3.0, 1.0, 2.0], [6.0, 4.0, 5.0]).as_dict()
    assert document["wall"] == pytest.approx({"min": 1, "median": 2, "p90": 2.8, "p99": 2.98, "max": 3})
    assert document["cpu"] == pytest.approx({"min": 4, "median": 5, "p90": 5.8, "p99": 5.98, "max": 6})


def test_finish_runs_after_each_call_and_after_a_failure() -> None:
    ran: list[str] = []
    case = Case(name="a", call=lambda: ran.append("call"), finish=lambda: ran.append("finish"))
    time_cases([case], 2)
    assert ran == ["call", "finish"] * 3
    with pytest.raises(ZeroDivisionError):
        time_cases([Case(name="a", call=lambda: 1 / 0, finish=ran.clear)], 1)
    assert ran == []


def test_returned_sample_replaces_the_clocks() -> None:
    series = time_cases([Case(name="a", call=lambda: Sample(3.0, 2.0), operations=2)], 2)["a"]
    assert (series.wall, series.cpu) == ([1.5, 1.5], [1.0, 1.0])


def test_settle_waits_until_the_process_uses_no_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 10**6, 10**6, 2 * 10**6, 2 * 10**6, 2 * 10**6])
    monkeypatch.setattr(timing, "_TIMEOUT", 60)
    monkeypatch.setattr(timing, "PROCESS", lambda: next(clock))
    settle()
    assert list(clock) == []


def test_settle_has_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 10**6)
    monkeypatch.setattr(timing, "PROCESS", lambda: next(clock))
    settle()
    assert next(clock) >= 2 * 10**6


def test_no_cases_have_no_series() -> None:
    assert time_cases([], 2) == {}


def test_garbage_collector_is_off_during_rounds_and_on_after_a_failure() -> None:
    enabled: list[bool] = []

    def fail() -> None:
        enabled.append(gc.isenabled())
        if len(enabled) == 2:
            raise LookupError

    with pytest.raises(LookupError):
        time_cases([Case(name="a", call=fail)], 1)
    assert enabled == [True, False]
    assert gc.isenabled()
