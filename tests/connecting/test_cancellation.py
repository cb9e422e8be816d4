"""A connect that is given up, at any moment and in any way, ends in a session or in a documented exception."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import babar_tls
from babar_tls import AsyncSession, Config

from . import lifetime
from .lifetime import assert_ends, measure, moment, no_task_is_left, note_loop_error, outcome, randomness, repeat, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from babar_tls.testing import ScramServer

nothing_is_left, threads_end = lifetime.nothing_is_left, lifetime.threads_end
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
    """Make so many attempts, a few at a time, and count how they end."""
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


# Random moments


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_cancelled_at_a_random_moment(target: Config, host: str) -> None:
    """Half of the moments are close to the end of the connect, where its result is on its way to the event loop."""
    source = randomness()
    there = target.replace(host=host)

    async def main() -> Counter[str]:
        seconds = await measure(there, _WIDTH)
        loop = asyncio.get_running_loop()

        async def attempt() -> str:
            task = asyncio.ensure_future(AsyncSession.connect(there))
            timer = loop.call_later(moment(source, seconds), task.cancel)
            try:
                return await outcome(task)
            finally:
                timer.cancel()

        return await many(repeat(35, 1000), attempt)

    assert_ends(run(main), "cancelled", "session")


def test_wait_for_with_a_random_timeout(target: Config) -> None:
    source = randomness()

    async def main() -> Counter[str]:
        seconds = await measure(target, _WIDTH)
        return await many(
            repeat(20, 550),
            lambda: outcome(asyncio.wait_for(AsyncSession.connect(target), moment(source, seconds))),
        )

    assert_ends(run(main), "TimeoutError", "session")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_random_connect_timeout(target: Config, host: str) -> None:
    """The deadline comes at any moment, and the error is the library's own."""
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

    assert_ends(run(main), "TimeoutError", "session")


@pytest.mark.parametrize("kind", ["silent", "dripping"])
def test_cancelled_while_the_server_is_slow(config: Config, backend: str, kind: str, ports: Mapping[str, int]) -> None:
    source = randomness()
    target = config.replace(port=ports[kind], tls_backend=backend)

    async def main() -> Counter[str]:
        loop = asyncio.get_running_loop()

        async def attempt() -> str:
            task = asyncio.ensure_future(AsyncSession.connect(target))
            loop.call_later(source.uniform(0, 0.03), task.cancel)
            return await outcome(task)

        return await many(repeat(12, 300), attempt)

    assert_ends(run(main), "cancelled")


def test_cancelled_before_it_has_begun(target: Config) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(AsyncSession.connect(target))
        task.cancel()
        assert await outcome(task) == "cancelled"
        assert await outcome(asyncio.wait_for(AsyncSession.connect(target), 0)) == "TimeoutError"

    run(main)


def test_cancelled_again_and_again(target: Config) -> None:
    """Each turn of the event loop cancels the task once more, until it has ended."""
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

    assert_ends(run(main), "cancelled", "session")


# The same turn of the event loop as the result


class _Loop(asyncio.SelectorEventLoop):
    """Cancels a task at the moment at which another thread delivers something to the event loop."""

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
            elif when == "next":  # runs before or after the task, depending on who was scheduled first
                self.call_soon(task.cancel)

        call = callback if task is None else with_cancellation
        return super().call_soon_threadsafe(call, *arguments, context=context)


@pytest.mark.parametrize("when", ["before", "after", "next"])
def test_cancelled_in_the_same_tick_as_the_result(target: Config, when: str) -> None:
    """The result was delivered, or is about to be, when the task is cancelled."""

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


# The ways in which libraries cancel


@pytest.fixture
def anyio() -> Any:
    return pytest.importorskip("anyio")


def run_with_anyio(anyio: Any, main: Callable[[], Awaitable[Counter[str]]]) -> Counter[str]:
    async def checked() -> Counter[str]:
        asyncio.get_running_loop().set_exception_handler(note_loop_error)
        ends = await main()
        await no_task_is_left()
        return ends

    result: Counter[str] = anyio.run(checked, backend="asyncio")
    return result


@pytest.mark.parametrize("scope", ["move_on_after", "fail_after"])
def test_anyio_timeouts_in_a_task_group(target: Config, scope: str, anyio: Any) -> None:
    """A cancelled scope of anyio cancels its tasks in each turn of the event loop until they have left it."""
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

    assert_ends(run_with_anyio(anyio, main), "cancelled", "session")


def test_anyio_task_group_that_is_cancelled(target: Config, anyio: Any) -> None:
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

    assert_ends(run_with_anyio(anyio, main), "cancelled", "session")


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

    assert_ends(run(main), "cancelled", "session")


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

    assert_ends(run(main), "TimeoutError", "session")


def test_event_loop_is_free_while_connects_are_cancelled(
    config: Config, backend: str, ports: Mapping[str, int]
) -> None:
    """Cancelling does not wait for the thread that connects."""
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
