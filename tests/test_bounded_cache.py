"""The cache of SCRAM keys, key-exchange groups and contexts."""

from __future__ import annotations

import gc
import os
import threading
import time
import warnings
import weakref
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.tls import bounded_cache
from babar_tls.tls.bounded_cache import BoundedCache

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def test_value_is_found_by_its_key() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    assert cache.get("a") is None
    cache.put("a", 1)
    assert cache.get("a") == 1
    cache.put("a", 2)
    assert (cache.get("a"), cache.get("b"), len(cache)) == (2, None, 1)


def test_least_recently_used_value_is_removed_first() -> None:
    cache: BoundedCache[str, int] = BoundedCache(3)
    for number, key in enumerate("abc"):
        cache.put(key, number)
    cache.get("a")  # reading is a use
    cache.put("b", 4)  # and so is writing
    cache.put("d", 5)
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "b", "d"]


def test_value_can_be_removed() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.remove("a")
    cache.remove("a")
    assert (cache.get("a"), cache.get("b")) == (None, 2)
    cache.clear()
    assert (cache.get("b"), len(cache)) == (None, 0)


def test_value_expires_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(bounded_cache, "time", lambda: now)
    cache: BoundedCache[str, int] = BoundedCache(4)
    cache.put("short", 1, until=1010)
    cache.put("long", 2, until=1020)
    cache.put("endless", 3)
    now = 1009.5
    assert [cache.get(key) for key in ("short", "long", "endless")] == [1, 2, 3]
    now = 1010
    assert [cache.get(key) for key in ("short", "long", "endless")] == [None, 2, 3]
    assert len(cache) == 2
    cache.put("long", 4)  # without the limit that the value before had
    now = 1e9
    assert [cache.get(key) for key in ("short", "long", "endless")] == [None, 4, 3]


def test_value_that_has_expired_already_is_not_found() -> None:
    cache: BoundedCache[str, int] = BoundedCache(1)
    cache.put("a", 1, until=time.time() - 1)
    assert cache.get("a") is None


@given(
    st.integers(1, 4), st.lists(st.tuples(st.sampled_from(["get", "put", "remove"]), st.integers(0, 6)), max_size=60)
)
def test_cache_equals_its_model(capacity: int, steps: list[tuple[str, int]]) -> None:
    cache: BoundedCache[int, int] = BoundedCache(capacity)
    model: list[tuple[int, int]] = []  # the least recently used pair first
    for number, (step, key) in enumerate(steps):
        found = dict(model).get(key)
        if step == "get":
            assert cache.get(key) == found
        if step == "put" or found is not None:
            model = [pair for pair in model if pair[0] != key]
        if step == "put":
            cache.put(key, number)
            model = [*model, (key, number)][-capacity:]
        elif step == "get" and found is not None:
            model.append((key, found))
        elif step == "remove":
            cache.remove(key)
        assert len(cache) == len(model)


def test_threads_may_use_one_cache() -> None:
    cache: BoundedCache[int, int] = BoundedCache(8)
    failures: list[BaseException] = []

    def use(seed: int) -> None:
        try:
            for number in range(2000):
                key = number * seed % 23
                cache.put(key, key)
                assert cache.get((key + 1) % 23) in (None, (key + 1) % 23)
                cache.remove((key + 2) % 23)
        except BaseException as exc:  # reported by the main thread
            failures.append(exc)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in (3, 5, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(cache) <= 8


def run_in_child(cache: BoundedCache[str, int]) -> int:
    """Return the exit status of a forked child that uses the cache: 0 if it has the parent's values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has threads
        child = os.fork()
    if not child:
        status = 1
        try:
            found = cache.get("a")
            cache.put("b", 2)
            cache.put("d", 4)  # one value too many
            status = 0 if (found, cache.get("b"), cache.get("d"), len(cache)) == (1, 2, 4, 2) else 2
        finally:
            os._exit(status)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -1


@needs_fork
def test_forked_child_keeps_the_values() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1)
    assert run_in_child(cache) == 0


@needs_fork
def test_forked_child_keeps_the_values_that_a_thread_of_its_parent_was_changing() -> None:
    class Slow(OrderedDict[str, tuple[int, float | None]]):
        """Entries whose change lasts until the child is forked."""

        def __setitem__(self, key: str, value: tuple[int, float | None]) -> None:
            entered.set()
            go_on.wait(60)
            super().__setitem__(key, value)

    entered, go_on = threading.Event(), threading.Event()
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache._entries = Slow()
    OrderedDict.__setitem__(cache._entries, "a", (1, None))
    thread = threading.Thread(target=cache.put, args=("c", 3))
    thread.start()
    try:
        assert entered.wait(10)
        assert run_in_child(cache) == 0
    finally:
        go_on.set()
        thread.join()
    assert cache.get("c") == 3


def test_cache_that_is_not_used_any_more_is_released() -> None:
    reference = weakref.ref(BoundedCache[str, int](1))
    gc.collect()
    assert reference() is None
