"""Coroutines that run beside the event loop, in the threads of `workers`.

To whoever awaits `Aside.run` it is one wait; what the coroutine itself waits for is its thread's to watch.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from .workers import Ready, pool

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Coroutine, Generator

    from .workers import Worker

__all__ = ["LOCAL_PATIENCE", "Aside", "until_called", "until_ready"]

_T = TypeVar("_T")

#: Seconds without progress after which a connect is not counted: where the network is in between, and where it is not,
#: so that whatever takes time is the server's computing.
PATIENCE = 0.002
LOCAL_PATIENCE = 0.025


class _Called(NamedTuple):
    begin: Callable[[Callable[[Any], None]], object]


@types.coroutine
def until_ready(sock: socket.socket, events: int, seconds: float | None = None) -> Generator[Ready, bool, bool]:
    """Wait, inside `Aside`, until the socket is ready for these events of `selectors`; `False` if that takes longer."""
    return (yield Ready(sock, events, seconds))


@types.coroutine
def until_called(begin: Callable[[Callable[[_T], None]], object]) -> Generator[_Called, _T, _T]:
    """Wait, inside `Aside`, until what `begin` is given is called, in whatever thread, and with what."""
    return (yield _Called(begin))


class Aside(Generic[_T]):
    """A coroutine that a thread beside the event loop runs; it awaits `until_ready` and `until_called` alone.

    Whoever cancels `run` need not wait: the thread gives the coroutine up, and calls `clean_up`.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, _T], clean_up: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._clean_up = clean_up
        self._worker: Worker | None = None
        self._watched: socket.socket | None = None
        self._over = False
        self.abandoned = False
        self.patience = PATIENCE

    async def run(self, loop: asyncio.AbstractEventLoop) -> _T:
        """Run it to its end.

        Raises:
            IoError: There is no thread to run it, and none can be started.
        """
        self._loop = loop
        self._future: asyncio.Future[_T] = loop.create_future()
        self._worker = worker = pool.reserve()
        worker.submit(lambda: worker.admit(self))
        return await self._future

    def abandon(self) -> None:
        """Nobody wants it any more: it is closed in its thread, as soon as that gets to it."""
        self.abandoned = True
        if self._worker is None or not self._worker.submit(self._give_up):
            self._give_up()  # there is no such thread

    def begin(self) -> None:
        """Take the first step; called in its thread."""
        self._step(self._coroutine.send, None)

    def forget(self, sock: socket.socket) -> None:
        """The socket is about to be closed, or to be somebody else's."""
        if self._worker is not None and sock is self._watched:
            self._worker.unwatch(sock)
            self._watched = None

    def _step(self, resume: Callable[[Any], Any], value: Any) -> None:
        while not self.abandoned:
            try:
                wait = resume(value)
            except StopIteration as stop:
                return self._end(stop.value, None)
            except BaseException as error:
                return self._end(None, error)
            try:
                return self._wait(wait)
            except Exception as error:  # such as that the system watches no more sockets
                resume, value = self._coroutine.throw, error
        return None

    def _wait(self, wait: Ready | _Called) -> None:
        worker = self._worker
        if worker is None:
            raise RuntimeError("it was not begun")
        worker.be_patient(self)
        if isinstance(wait, Ready):
            self._watched = wait.sock
            worker.watch(wait, lambda ready: self._step(self._coroutine.send, ready))
        else:

            def deliver(result: Any) -> None:
                worker.submit(lambda: self._step(self._coroutine.send, result))

            wait.begin(deliver)

    def _end(self, result: Any, error: BaseException | None) -> None:
        self._release()
        try:
            self._loop.call_soon_threadsafe(_deliver, self._future, result, error)
        except RuntimeError:  # the loop has ended meanwhile
            self._clean_up()

    def _give_up(self) -> None:
        self._coroutine.close()
        self._clean_up()
        self._release()

    def _release(self) -> None:
        if self._watched is not None:
            self.forget(self._watched)
        if not self._over and self._worker is not None:
            self._worker.release(self)
        self._over = True


def _deliver(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return  # cancelled, together with whoever waited
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
