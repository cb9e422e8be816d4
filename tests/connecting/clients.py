"""Honest connects, attacked connects, and the measurements of both, in one event loop.

Absolute times depend on the machine. Honest connects during and after an attack are therefore compared with the same
connects without the attack, in the same process, on the same loop, within the same seconds. Other load on the machine
may fall into one of the two measurements only, so both are repeated once if the result is bad.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, TypeVar

from babar_tls import AsyncSession, Config, Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

_T = TypeVar("_T")

HONEST = 20  # connects at the same time
ROUNDS = 3
ATTEMPTS = 2
PAUSE = 0.1  # seconds before an attacked connect is repeated
SLOWDOWN = 10  # the greatest ratio of times with and without an attack
LATENESS = 2  # the greatest ratio of the duration of an attacked connect and its connect_timeout
LINGER = 3.0  # seconds that a thread of babar-tls may wait for the next connect
_MIB = 1 << 20


def open_descriptors() -> list[str]:
    """Return the sockets, pipes and pollers of this process. Regular files are excluded: libraries keep some open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115 - the link of a socket is not a path
        except OSError:
            continue  # the descriptor of this listing, or closed by another thread
        if not target.startswith("/"):
            found.append(target)
    return sorted(found)


def sockets_to(port: int) -> int:
    """Return the number of sockets of this process that are connected to `port`."""
    count = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are what is needed
        try:
            sock = socket.socket(fileno=int(name))
        except OSError:
            continue  # not a socket, or closed by another thread
        try:
            count += sock.family == socket.AF_INET and sock.getpeername()[1] == port
        except OSError:
            pass  # not connected
        finally:
            sock.detach()
    return count


def resident(name: str) -> int:
    """Return a size of this process in bytes: ``VmRSS`` or ``VmHWM``."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) << 10
    raise LookupError(name)


def left_open() -> tuple[list[str], list[str], int]:
    """Return the threads of the library, the descriptors, and the number of other threads.

    The threads are read once: one that ends between two readings would be counted as a thread of another kind.
    """
    names = [thread.name for thread in threading.enumerate()]
    of_library = [name for name in names if name.startswith("babar-tls")]
    return of_library, open_descriptors(), len(names) - len(of_library)


def stacks() -> str:
    """Return the stacks of the library's threads."""
    frames = sys._current_frames()
    names = {thread.ident: thread.name for thread in threading.enumerate() if thread.name.startswith("babar-tls")}
    return "\n".join(
        "".join([f"{name}:\n", *traceback.format_stack(frames[ident])])
        for ident, name in names.items()
        if ident in frames
    )


@contextlib.contextmanager
def no_leaks() -> Iterator[None]:
    """Assert that the library's threads end and all descriptors are closed, after a bounded wait."""
    _, *before = left_open()
    yield
    expected = ([], *before)
    deadline = time.monotonic() + LINGER
    while (left := left_open()) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == expected, f"left: {left}, expected: {expected}\n{stacks()}"


async def poll(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until `condition` returns True, for at most `seconds`; return its last result."""
    deadline = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < deadline:  # noqa: ASYNC110 - the state has no event
        await asyncio.sleep(0.005)
    return result


async def connect_round(config: Config, *, count: int = HONEST) -> float:
    """Return the seconds that `count` simultaneous connects take."""
    started = time.perf_counter()
    results = await asyncio.gather(*(AsyncSession.connect(config) for _ in range(count)), return_exceptions=True)
    seconds = time.perf_counter() - started
    failures = []
    for result in results:
        if isinstance(result, BaseException):
            failures.append(result)
        else:
            await result.close()
    if failures:
        raise failures[0]
    return seconds


async def rounds(config: Config) -> list[float]:
    return [await connect_round(config) for _ in range(ROUNDS)]


@dataclass
class Times:
    """Seconds of the rounds of honest connects before, during and after an attack."""

    before: list[float]
    during: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    failures: list[Error] = field(default_factory=list)

    async def measure_during(self, config: Config) -> None:
        with self._failures():
            self.during = await rounds(config)

    async def measure_after(self, config: Config) -> None:
        with self._failures():
            self.after = await rounds(config)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except Error as error:
            self.failures.append(error)

    @property
    def ratios(self) -> tuple[float, float]:
        """The ratio of the times of honest connects during the attack, and after it, to those without it."""
        if self.failures:
            return math.inf, math.inf
        # Both measurements are used, because the machine may have been busier during one of them.
        usual = mean(self.before + self.after)
        return mean(self.during) / usual, mean(self.after) / mean(self.before)

    def is_doubtful(self) -> bool:
        """Return True if the result is bad, and other load on the machine may be the reason."""
        return not self.failures and max(self.ratios) > SLOWDOWN

    def check(self) -> None:
        """Assert that the honest connects succeeded, and were not slowed down."""
        assert self.failures == []
        during, after = self.ratios
        assert during <= SLOWDOWN, f"{during:.1f} times as long during the attack as without it: {self}"
        assert after <= SLOWDOWN, f"{after:.1f} times as long after the attack as before it: {self}"


@dataclass
class Outcome:
    """The end of one attacked connect.

    Attributes:
        error: The error, `None` if the connect succeeded.
        seconds: Its duration.
        sockets: Sockets to the hostile server that were open when the error arrived, and belonged to no other connect.
    """

    error: Error | None
    seconds: float
    sockets: int


class Attack:
    """Connects to a hostile server, each of which is repeated a moment after it has ended.

    Attributes:
        outcomes: The connects that have ended.
        failures: Exceptions that are not `Error`; `None` for a task that returned in spite of its cancellation.
    """

    def __init__(self, config: Config, count: int) -> None:
        self.outcomes: list[Outcome] = []
        self.failures: list[BaseException | None] = []
        self._config = config
        self._count = count
        self._connecting = 0
        self._over = False
        self._ended_once: set[int] = set()

    async def __aenter__(self) -> Attack:
        self._tasks = [asyncio.ensure_future(self._repeat(number)) for number in range(self._count)]
        await poll(lambda: self.connected() >= self._count or bool(self.outcomes), 0.5)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self.failures += [result for result in results if not isinstance(result, asyncio.CancelledError)]

    def connected(self) -> int:
        return sockets_to(self._config.port)

    async def all_ended_once(self) -> bool:
        """Wait until each connect has ended at least once; return False if that takes much longer than it may."""
        assert self._config.connect_timeout is not None
        seconds = self._config.connect_timeout * (LATENESS + 1)
        return await poll(lambda: len(self._ended_once) == self._count, seconds)

    async def _repeat(self, number: int) -> None:
        while not self._over:  # ends the test if a cancellation is lost, which is a failure
            self._connecting += 1
            started = time.perf_counter()
            caught: Error | None = None
            try:
                session = await AsyncSession.connect(self._config)
            except Error as error:
                caught = error
            finally:
                self._connecting -= 1
            seconds = time.perf_counter() - started
            self.outcomes.append(Outcome(caught, seconds, max(0, self.connected() - self._connecting)))
            self._ended_once.add(number)
            if caught is None:
                await session.close()
            del caught
            await asyncio.sleep(PAUSE)


@contextlib.asynccontextmanager
async def attacks(*many: Attack) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for attack in many:
            await stack.enter_async_context(attack)
        yield


class Memory:
    """The growth of the resident set's peak since `reset`.

    Attributes:
        growth: In MiB; `None` where the peak cannot be reset.
    """

    def __init__(self) -> None:
        self.growth: float | None = None
        self._start: int | None = None

    def reset(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # proc(5): VmHWM becomes the current size
        except OSError:
            return
        self._start = resident("VmRSS")

    def read(self) -> None:
        if self._start is not None:
            self.growth = (resident("VmHWM") - self._start) / _MIB


def run(
    main: Coroutine[Any, Any, _T], new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
) -> _T:
    """Run a coroutine on a new event loop; return its result."""
    loop = new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
