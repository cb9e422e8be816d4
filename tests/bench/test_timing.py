"""Paired measurement takes turns, and disturbs nothing for good."""

from __future__ import annotations

import gc

import pytest

from babar_tls.bench.timing import Case, Series, measure


def test_takes_turns() -> None:
    """Each round runs every case once, beginning with another one each time, after a round that does not count."""
    ran: list[str] = []
    cases = [Case(name=name, call=lambda name=name: ran.append(name)) for name in "abc"]
    advanced: list[int] = []
    series = measure(cases, 3, advanced.append)
    assert "".join(ran) == "abc" + "abc" + "bca" + "cab"
    assert advanced == [1, 1, 1]
    assert list(series) == ["a", "b", "c"]
    assert all(len(item.wall) == len(item.cpu) == 3 for item in series.values())


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
    """A series tells minimum and median of both clocks."""
    document = Series([3.0, 1.0, 2.0], [6.0, 4.0, 5.0]).as_dict()
    assert document == {"wall": {"min": 1.0, "median": 2.0}, "cpu": {"min": 4.0, "median": 5.0}}


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
