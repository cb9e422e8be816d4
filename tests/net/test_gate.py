"""The gate limits the number of computing threads, admits them in order, and bounds each wait."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from babar_tls.net.gate import QUANTUM, Gate, Turn, Waiting
from babar_tls.net.interruption import Interruption

if TYPE_CHECKING:
    from collections.abc import Callable


def start(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def wait_for_queue(gate: Gate, count: int) -> None:
    """Wait until this number of threads wait."""
    deadline = time.monotonic() + 10
    while len(gate._queue) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_threads_inside_are_limited_to_the_places() -> None:
    gate, lock, source = Gate[None](3), threading.Lock(), random.Random(1)  # noqa: S311 - not a secret
    inside = most = entered = 0

    def work() -> None:
        nonlocal inside, most, entered
        turn = Turn(gate, Interruption())
        for _ in range(50):
            assert turn.enter(None)
            with lock:
                inside += 1
                entered += 1
                most = max(most, inside)
            time.sleep(source.random() / 10_000)
            with lock:
                inside -= 1
            turn.leave()

    threads = [start(work) for _ in range(20)]
    for thread in threads:
        thread.join(30)
    assert (inside, most, entered) == (0, 3, 1000)
    assert gate._free == 3


def test_threads_enter_in_the_order_of_arrival() -> None:
    gate, order = Gate[None](1), []
    holder = Turn(gate, Interruption())
    assert holder.enter(None)

    def work(number: int) -> None:
        turn = Turn(gate, Interruption())
        assert turn.enter(None)
        order.append(number)
        turn.leave()

    threads = []
    for number in range(10):
        threads.append(start(lambda number=number: work(number)))  # type: ignore[misc]  # the default binds the number
        wait_for_queue(gate, number + 1)
    holder.leave()
    for thread in threads:
        thread.join(10)
    assert order == list(range(10))


def test_entering_twice_takes_one_place() -> None:
    gate: Gate[None] = Gate(1)
    turn = Turn(gate, Interruption())
    assert turn.enter(None)
    assert turn.enter(None)
    turn.leave()
    turn.leave()
    assert gate._free == 1


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.01])
def test_wait_ends_at_its_deadline(seconds: float) -> None:
    gate: Gate[None] = Gate(1)
    holder, late = Turn(gate, Interruption()), Turn(gate, Interruption())
    assert holder.enter(None)
    assert not late.enter(seconds)
    late.leave()  # has no effect
    holder.leave()
    assert gate._free == 1


@pytest.mark.parametrize("before", [True, False])
def test_wait_ends_on_interruption(*, before: bool) -> None:
    gate, interruption = Gate[None](1), Interruption()
    holder, waiting = Turn(gate, Interruption()), Turn(gate, interruption)
    assert holder.enter(None)
    results: list[bool] = []
    if before:
        interruption.request()
    thread = start(lambda: results.append(waiting.enter(None)))
    if not before:
        wait_for_queue(gate, 1)
        interruption.request()
    thread.join(10)
    assert results == [False]
    holder.leave()
    assert gate._free == 1


def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_turn_is_over_only_if_others_wait() -> None:
    gate: Gate[None] = Gate(1)
    turn, other = Turn(gate, Interruption()), Turn(gate, Interruption())
    assert turn.enter(None)
    compute(2 * QUANTUM)
    assert not turn.is_over()
    thread = start(lambda: other.enter(None))
    wait_for_queue(gate, 1)
    assert turn.is_over()
    turn.leave()
    thread.join(10)
    assert not turn.enter(0)
    other.leave()
    assert turn.enter(0)
    assert not turn.is_over()


def test_waiting_time_does_not_end_a_turn() -> None:
    gate: Gate[None] = Gate(1)
    turn, other = Turn(gate, Interruption()), Turn(gate, Interruption())
    assert turn.enter(None)
    thread = start(lambda: other.enter(None))
    wait_for_queue(gate, 1)
    time.sleep(2 * QUANTUM)
    assert not turn.is_over()
    turn.leave()
    thread.join(10)


def test_only_local_servers_are_awaited_inside() -> None:
    gate: Gate[None] = Gate(1)
    turn = Turn(gate, Interruption())
    assert turn.moment() == 0
    turn.expect_server(is_local=True)
    assert turn.moment() > 0


def test_total_time_that_a_slow_server_is_awaited_inside_is_limited() -> None:
    turn = Turn(Gate[None](1), Interruption())
    turn.expect_server(is_local=True)
    waited = 0.0
    while moment := turn.moment():
        turn.answered(0.9 * moment, inside=True)
        waited += 0.9 * moment
        assert waited < 10 * QUANTUM
    assert waited > 0.01


def test_silent_servers_shorten_the_waits_of_all_connects() -> None:
    gate, waited = Gate[None](3), 0.0
    for _ in range(100):
        turn = Turn(gate, Interruption())
        turn.expect_server(is_local=True)
        waited += turn.moment()
        if turn.moment():
            turn.lose_patience()
        assert turn.moment() == 0
    assert 0 < waited < 0.05
    honest = Turn(gate, Interruption())
    honest.expect_server(is_local=True)
    assert honest.moment() == 0
    for _ in range(20):
        honest.answered(0.001, inside=False)
    assert honest.moment() > 0


def test_jobs_and_threads_share_one_queue() -> None:
    granted: list[str] = []
    gate: Gate[str] = Gate(1, granted.append)
    gate.submit(Waiting("first"))
    assert granted == ["first"]
    gate.submit(Waiting("second"))
    turn = Turn(gate, Interruption())
    thread = start(lambda: turn.enter(None))
    wait_for_queue(gate, 2)
    third = Waiting("third")
    gate.submit(third)
    gate.submit(Waiting("fourth"))
    assert third.withdraw()
    assert not third.withdraw()
    assert gate.exchange() == "second"
    assert granted == ["first"]
    assert not turn.inside
    assert gate.exchange() is None  # the thread arrived before the fourth job
    thread.join(10)
    assert turn.inside
    turn.leave()
    assert granted == ["first", "fourth"]
    assert gate.exchange() is None
    assert gate._free == 1


def test_granted_place_cannot_be_withdrawn() -> None:
    gate: Gate[str] = Gate(1, lambda job: None)
    gate.submit(Waiting("first"))
    second = Waiting("second")
    gate.submit(second)
    assert gate.exchange() == "second"
    assert not second.withdraw()
    assert gate.exchange() is None
    third = Waiting("third")
    gate.submit(third)  # is granted a place immediately
    assert not third.withdraw()


def test_withdrawn_job_takes_no_place() -> None:
    granted: list[str] = []
    gate: Gate[str] = Gate(1, granted.append)
    withdrawn = Waiting("withdrawn")
    assert withdrawn.withdraw()
    gate.submit(withdrawn)
    assert (granted, gate._free) == ([], 1)


def test_waits_and_interruptions_at_random_times_lose_no_place() -> None:
    gate, stop = Gate[None](2), threading.Event()
    turns = 0

    def work(seed: int) -> None:
        nonlocal turns
        source = random.Random(seed)  # noqa: S311 - not a secret
        while not stop.is_set():
            interruption = Interruption()
            turn = Turn(gate, interruption)
            timer = threading.Timer(source.random() / 2000, interruption.request)
            timer.start()
            if turn.enter(source.choice([None, 0.0001, 0.001])):
                turns += 1
                time.sleep(source.random() / 5000)
                turn.leave()
            timer.join()

    threads = [start(lambda seed=seed: work(seed)) for seed in range(8)]  # type: ignore[misc]  # as above
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert turns > 10
    assert gate._free == 2
    assert not gate.has_queue
