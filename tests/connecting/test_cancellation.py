"""A connect that is cancelled or times out at any time ends in a session or a documented exception."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import babar_tls
from babar_tls import AsyncSession, Config

from . import lifetime
from .lifetime import (
    assert_no_other_task,
    assert_outcomes,
    measure,
    moment,
    note_loop_error,
    outcome,
    randomness,
    repeat,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from babar_tls.testing import ScramServer

no_leaks, no_leaked_threads = lifetime.no_leaks, lifetime.no_leaked_threads
backend, certificate, root, config, honest, ports = (
    lifetime.backend,
    lifetime.certificate,
    lifetime.root,
    lifetime.config,
    lifetime.honest,
    lifetime.ports,
)

pytestmark = pytest.mark.timeout(900)

_WIDTH = 4  # connects at a time


async def many(count: int, attempt: Callable[[], Awaitable[str]]) -> Counter[str]:
    """Make this number of attempts, a few at a time, and count their outcomes."""
    ends: Counter[str] = Counter()
    left = count

    async def some() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            ends[await attempt()] += 1

    await asyncio.gather(*(some() for _ in range(_WIDTH)))
    return ends


@pytest.fixture
def target(config: Config, backend: str, honest: ScramServer) -> Config:
    return config.replace(port=honest.port, tls_backend=backend)


# Random times


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_cancellation_at_a_random_time(target: Config, host: str) -> None:
    """Half of the times are close to the end of the connect, when its result is delivered to the event loop."""
    source = randomness()
    target_host = target.replace(host=host)

    async def main() -> Counter[str]:
        seconds = await measure(target_host, _WIDTH)
        loop = asyncio.get_running_loop()

        async def attempt() -> str:
            task = asyncio.ensure_future(AsyncSession.connect(target_host))
            timer = loop.call_later(moment(source, seconds), task.cancel)
            try:
                return await outcome(task)
            finally:
                timer.cancel()

        return await many(repeat(35, 1000), attempt)

    assert_outcomes(run(main), "cancelled", "session")


def test_wait_for_with_a_random_timeout(target: Config) -> None:
    source = randomness()

    async def main() -> Counter[str]:
        seconds = await measure(target, _WIDTH)
        return await many(
            repeat(20, 550),
            lambda: outcome(asyncio.wait_for(AsyncSession.connect(target), moment(source, seconds))),
        )

    assert_outcomes(run(main), "TimeoutError", "session")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_random_connect_timeout(target: Config, host: str) -> None:
    """The exception is babar_tls.TimeoutError."""
    source = randomness()

    async def main() -> Counter[str]:
        seconds = await measure(target, _WIDTH)

        async def attempt() -> str:
            limited = target.replace(host=host, connect_timeout=max(1e-6, moment(source, seconds)))
            try:
                session = await AsyncSession.connect(limited)
            except babar_tls.Error as error:
                return type(error).__qualname__
            await session.close()
            return "session"

        return await many(repeat(14, 400), attempt)

    assert_outcomes(run(main), "TimeoutError", "session")


@pytest.mark.parametrize("kind", ["silent", "dripping"])
def test_cancellation_while_the_server_is_slow(
    config: Config, backend: str, kind: str, ports: Mapping[str, int]
) -> None:
    source = randomness()
    target = config.replace(port=ports[kind], tls_backend=backend)

    async def main() -> Counter[str]:
        loop = asyncio.get_running_loop()

        async def attempt() -> str:
            task = asyncio.ensure_future(AsyncSession.connect(target))
            loop.call_later(source.uniform(0, 0.03), task.cancel)
            return await outcome(task)

        return await many(repeat(12, 300), attempt)

    assert_outcomes(run(main), "cancelled")


def test_cancellation_before_the_connect_starts(target: Config) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(AsyncSession.connect(target))
        task.cancel()
        assert await outcome(task) == "cancelled"
        assert await outcome(asyncio.wait_for(AsyncSession.connect(target), 0)) == "TimeoutError"

    run(main)


def test_repeated_cancellation(target: Config) -> None:
    """Each iteration of the event loop cancels the task again, until it has ended."""
    source = randomness()

    async def main() -> Counter[str]:
        seconds = await measure(target, _WIDTH)
        loop = asyncio.get_running_loop()

        async def attempt() -> str:
            task = asyncio.ensure_future(AsyncSession.connect(target))

            def cancel() -> None:
                if not task.done():
                    task.cancel()
                    loop.call_soon(cancel)

            loop.call_later(moment(source, seconds), cancel)
            return await outcome(task)

        return await many(repeat(12, 300), attempt)

    assert_outcomes(run(main), "cancelled", "session")


# The same iteration of the event loop as the result


class _Loop(asyncio.SelectorEventLoop):
    """Cancels a task when another thread schedules a callback in the event loop."""

    task: asyncio.Task[Any] | None = None
    when = ""

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *arguments: Any, context: Any = None
    ) -> asyncio.Handle:
        task, when = self.task, self.when

        def with_cancellation(*given: Any) -> None:
            if when == "before":
                task.cancel()
            callback(*given)
            if when == "after":
                task.cancel()
            elif when == "next":  # runs before or after the task, depending on the order of scheduling
                self.call_soon(task.cancel)

        call = callback if task is None else with_cancellation
        return super().call_soon_threadsafe(call, *arguments, context=context)


@pytest.mark.parametrize("when", ["before", "after", "next"])
def test_cancellation_in_the_same_loop_iteration_as_the_result(target: Config, when: str) -> None:
    """The result has been delivered, or is about to be."""

    async def main() -> Counter[str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _Loop)
        ends: Counter[str] = Counter()
        for _ in range(repeat(3, 100)):
            loop.when, loop.task = when, asyncio.ensure_future(AsyncSession.connect(target))
            ends[await outcome(loop.task)] += 1
            loop.task = None
        return ends

    ends = run(main, loop_factory=_Loop)
    assert set(ends) <= {"cancelled", "session"}
    assert "cancelled" in ends or when == "next"


# Cancellation by libraries


@pytest.fixture
def anyio() -> Any:
    return pytest.importorskip("anyio")


def run_with_anyio(anyio: Any, main: Callable[[], Awaitable[Counter[str]]]) -> Counter[str]:
    async def checked() -> Counter[str]:
        asyncio.get_running_loop().set_exception_handler(note_loop_error)
        ends = await main()
        await assert_no_other_task()
        return ends

    result: Counter[str] = anyio.run(checked, backend="asyncio")
    return result


@pytest.mark.parametrize("scope", ["move_on_after", "fail_after"])
def test_anyio_timeouts_in_a_task_group(target: Config, scope: str, anyio: Any) -> None:
    """A cancelled scope of anyio cancels its tasks in each iteration of the event loop until they have left it."""
    source = randomness()

    async def main() -> Counter[str]:
        seconds = await measure(target, _WIDTH)
        ends: Counter[str] = Counter()

        async def one() -> None:
            session = None
            try:
                with getattr(anyio, scope)(moment(source, seconds)):
                    session = await AsyncSession.connect(target)
            except TimeoutError:
                assert scope == "fail_after"
            if session is not None:
                await session.close()
            ends["cancelled" if session is None else "session"] += 1

        for _ in range(repeat(4, 100)):
            async with anyio.create_task_group() as group:
                for _ in range(_WIDTH):
                    group.start_soon(one)
        return ends

    assert_outcomes(run_with_anyio(anyio, main), "cancelled", "session")


def test_cancelled_anyio_task_group(target: Config, anyio: Any) -> None:
    source = randomness()

    async def main() -> Counter[str]:
        seconds = await measure(target, _WIDTH)
        ends: Counter[str] = Counter()

        async def one() -> None:
            end = "cancelled"
            try:
                session = await AsyncSession.connect(target)
                end = "session"
                await session.close()
            finally:
                ends[end] += 1

        for _ in range(repeat(4, 100)):
            async with anyio.create_task_group() as group:
                for _ in range(_WIDTH):
                    group.start_soon(one)
                await anyio.sleep(moment(source, seconds))
                group.cancel_scope.cancel()
        return ends

    assert_outcomes(run_with_anyio(anyio, main), "cancelled", "session")


class _FailureError(Exception):
    pass


def test_task_group_with_a_failing_sibling(target: Config) -> None:
    source = randomness()

    async def fail(seconds: float) -> None:
        await asyncio.sleep(seconds)
        raise _FailureError

    async def failures(tasks: list[asyncio.Task[AsyncSession]], seconds: float) -> list[Exception]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [group.create_task(AsyncSession.connect(target)) for _ in range(_WIDTH)]
                group.create_task(fail(seconds))
        except Exception as error:  # it is an ExceptionGroup
            return list(getattr(error, "exceptions", [error]))
        return []

    async def main() -> Counter[str]:
        seconds = await measure(target, _WIDTH)
        ends: Counter[str] = Counter()
        for _ in range(repeat(5, 150)):
            tasks: list[asyncio.Task[AsyncSession]] = []
            errors = await failures(tasks, moment(source, seconds))
            assert [type(error) for error in errors] == [_FailureError]
            for task in tasks:
                ends[await outcome(task)] += 1
        return ends

    assert_outcomes(run(main), "cancelled", "session")


def test_asyncio_timeout_block(target: Config) -> None:
    source = randomness()

    async def main() -> Counter[str]:
        seconds = await measure(target, _WIDTH)

        async def attempt() -> str:
            try:
                async with asyncio.timeout(moment(source, seconds)):
                    session = await AsyncSession.connect(target)
            except TimeoutError as error:
                return type(error).__qualname__
            await session.close()
            return "session"

        return await many(repeat(16, 400), attempt)

    assert_outcomes(run(main), "TimeoutError", "session")


def test_cancellation_does_not_block_the_event_loop(config: Config, backend: str, ports: Mapping[str, int]) -> None:
    """Cancellation does not wait for the connect thread."""
    target = config.replace(port=ports["silent"], tls_backend=backend)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.ensure_future(AsyncSession.connect(target)) for _ in range(20)]
        await asyncio.sleep(0.05)
        start = loop.time()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return loop.time() - start

    assert run(main) < 1
