"""Paired measurement takes turns, and disturbs nothing for good."""

from __future__ import annotations

import gc
import itertools

import pytest

from babar_tls.bench import timing
from babar_tls.bench.timing import Case, Sample, Series, measure, settle


def rounds_of(names: str, rounds: int) -> list[str]:
    """The order of the cases in each round that counts."""
    ran: list[str] = []
    measure([Case(name=name, call=lambda name=name: ran.append(name)) for name in names], rounds)
    text = "".join(ran)
    assert text.startswith(names)
    return [text[start : start + len(names)] for start in range(len(names), len(text), len(names))]


def test_takes_turns() -> None:
    """Each round runs every case once, after a round that does not count."""
    ran: list[str] = []
    cases = [Case(name=name, call=lambda name=name: ran.append(name)) for name in "abc"]
    advanced: list[int] = []
    series = measure(cases, 3, advanced.append)
    assert sorted(ran) == sorted("abc" * 4)
    assert advanced == [1, 1, 1]
    assert list(series) == ["a", "b", "c"]
    assert all(len(item.wall) == len(item.cpu) == 3 for item in series.values())
    assert [sorted(order) for order in rounds_of("abcd", 5)] == [list("abcd")] * 5


def test_nobody_always_follows_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one case leaves behind does not meet the same other one in most rounds, and runs can be repeated."""
    monkeypatch.setattr("gc.collect", lambda: None)  # a hundred times, in a process that has seen many tests
    orders = rounds_of("abcdef", 60)
    assert orders == rounds_of("abcdef", 60)
    for name in "bcdef":
        assert sum(f"a{name}" in order for order in orders) < 30


def test_prepares_each_call() -> None:
    """What prepares a case runs before each of its calls."""
    ran: list[str] = []
    case = Case(name="a", prepare=lambda: ran.append("prepare"), call=lambda: ran.append("call"))
    measure([case], 2)
    assert ran == ["prepare", "call"] * 3


def test_times_are_of_one_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of many operations counts as one of each, in seconds."""
    ticks = iter(range(0, 10**12, 1000))
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(ticks))
    series = measure([Case(name="a", call=lambda: None, operations=10)], 1)["a"]
    assert series.minimum == series.median == pytest.approx(1e-7)


def test_figures() -> None:
    """A series tells minimum, median and upper percentiles of both clocks."""
    document = Series([3.0, 1.0, 2.0], [6.0, 4.0, 5.0]).as_dict()
    assert document["wall"] == pytest.approx({"min": 1, "median": 2, "p90": 2.8, "p99": 2.98, "max": 3})
    assert document["cpu"] == pytest.approx({"min": 4, "median": 5, "p90": 5.8, "p99": 5.98, "max": 6})


def test_finishes_each_call() -> None:
    """What finishes a case runs after each of its calls, even one that failed."""
    ran: list[str] = []
    case = Case(name="a", call=lambda: ran.append("call"), finish=lambda: ran.append("finish"))
    measure([case], 2)
    assert ran == ["call", "finish"] * 3
    with pytest.raises(ZeroDivisionError):
        measure([Case(name="a", call=lambda: 1 / 0, finish=ran.clear)], 1)
    assert ran == []


def test_a_case_may_keep_its_own_time() -> None:
    """What a call says that it took counts in place of the clocks."""
    series = measure([Case(name="a", call=lambda: Sample(3.0, 2.0), operations=2)], 2)["a"]
    assert (series.wall, series.cpu) == ([1.5, 1.5], [1.0, 1.0])


def test_settles_when_others_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the process uses CPU time it is waited for, and no longer."""
    clock = iter([0, 10**6, 10**6, 2 * 10**6, 2 * 10**6, 2 * 10**6])
    monkeypatch.setattr(timing, "_PATIENCE", 60)
    monkeypatch.setattr(timing, "PROCESS", lambda: next(clock))
    settle()
    assert list(clock) == []


def test_settles_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that never comes to rest is not waited for without end."""
    clock = itertools.count(0, 10**6)
    monkeypatch.setattr(timing, "PROCESS", lambda: next(clock))
    settle()
    assert next(clock) >= 2 * 10**6


def test_nothing_to_measure() -> None:
    """Where every client is missing there is nothing, and no error."""
    assert measure([], 2) == {}


def test_garbage_is_collected_again_afterwards() -> None:
    """The collector rests while something is measured, and works again even after a failure."""
    resting: list[bool] = []

    def fail() -> None:
        resting.append(gc.isenabled())
        if len(resting) == 2:
            raise LookupError

    with pytest.raises(LookupError):
        measure([Case(name="a", call=fail)], 1)
    assert resting == [True, False]
    assert gc.isenabled()
