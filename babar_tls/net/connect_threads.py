"""Connect from asyncio: a thread runs the blocking driver, and the event loop gets the ready socket.

::

    event loop           run(job) ──► queue ── await future ─────────────────────────► result
                                        │                     ▲
    connecting thread                   └─► job(connect) ─────┘ call_soon_threadsafe

* Threads: `thread_pool` starts them. They compute inside the gate and wait outside of it (`gated_connection`, `gate`).
* Cancellation. The task that is cancelled does not wait: it interrupts the thread (`interruption`), which closes its
  socket.
* Delivery. A result that is not taken, because the task was cancelled in the same tick or the loop was closed, is
  discarded, which closes its socket.
* Exit. When the main thread ends, Python waits for these threads, and the pool's starter interrupts the connects whose
  event loop does not run any more.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import Closed
from .gate import Turn, Waiting
from .gated_connection import GatedConnection, Interrupted
from .interruption import Interruption
from .thread_pool import THREAD_NAME, ThreadPool, no_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import Config
    from .blocking import Connector
    from .deadline import Meter


_T = TypeVar("_T")


class _Outcome(Generic[_T]):
    """The result of a job, or its error. A result that is not taken is discarded."""

    result: _T

    def __init__(self, discard: Callable[[_T], object] | None) -> None:
        self._discard = discard
        self.error: BaseException | None = None

    def take(self) -> _T:
        """Return the result, or raise the error."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame
        self._discard = None
        result = self.result
        del self.result
        return result

    def discard(self) -> None:
        """Release the result, if it was not taken."""
        self.error = None  # its traceback refers to this object
        discard, self._discard = self._discard, None
        if discard is not None and hasattr(self, "result"):
            discard(self.result)

    def __del__(self) -> None:
        # The loop was closed before it delivered this, or before the task that waits for it ran again.
        self.discard()


class _Attempt(Generic[_T]):
    """One job in a separate thread, and the task that waits for it."""

    def __init__(
        self,
        job: Callable[[Connector], _T],
        meter: Meter,
        discard: Callable[[_T], object] | None,
        *,
        outside: bool = False,
    ) -> None:
        self.interruption = Interruption()
        self.loop = asyncio.get_running_loop()
        self._caller = threading.current_thread()
        self._job: Callable[[Connector], _T] | None = job
        self._is_outside = outside
        self._meter = meter
        self._outcome: _Outcome[_T] | None = _Outcome(discard)
        self._waiting: Waiting[_Attempt[Any]] = Waiting(self)
        self._is_ended = False
        self._future: asyncio.Future[weakref.ref[_Outcome[_T]]] = self.loop.create_future()
        self.turn = Turn(_threads.gate, self.interruption)
        self._context = copy_context()
        self._connection: GatedConnection | None = None

    async def run(self) -> _T:
        """Run the job in a thread, and wait for its outcome."""
        try:
            _threads.submit(self, self._waiting)
            outcome = (await self._future)()
        except BaseException:
            self.interrupt()
            _threads.jobs.discard(self)
            if self._future.done() and not self._future.cancelled():
                outcome = self._future.result()()
                if outcome is not None:
                    outcome.discard()
            raise
        if outcome is None:
            raise Closed("the event loop was closed during the connect")
        return outcome.take()

    def interrupt(self) -> None:
        """End the attempt, whose result is not needed any more."""
        self.interruption.request()
        if self.withdraw():
            self._finish()

    def end(self, *, deliver: bool) -> None:
        """End the attempt because the program ends; deliver an error if threads remain that may wait for the task."""
        self._is_ended = deliver
        self.interrupt()

    def withdraw(self) -> bool:
        """Give up waiting for a place; return False if the attempt has a thread."""
        return self._waiting.withdraw()

    @property
    def is_late(self) -> bool:
        """Return True if the deadline has passed."""
        return self._meter.deadline is not None and time.monotonic() > self._meter.deadline

    @property
    def is_orphaned(self) -> bool:
        """Return True if the event loop has stopped, or will be killed because its thread is a daemon."""
        return not self.loop.is_running() or not self._caller.is_alive() or self._caller.daemon

    def close_in_child(self) -> None:
        """Close the forked child's copy of the socket."""
        if self._connection is not None:
            self._connection.close_copy()

    def _connect(self, config: Config, meter: Meter) -> GatedConnection:
        self._connection = GatedConnection(config, meter, self.interruption, self.turn)
        return self._connection

    def work(self) -> None:
        """Run the job. Called in the thread, which keeps its place at the gate if it has one at the end."""
        self._context.run(self._work)

    def fail(self, error: BaseException) -> None:
        """Deliver an error instead; called if no thread can be started."""
        if self._outcome is not None:
            self._outcome.error = error
        self._finish()

    def _work(self) -> None:
        outcome = self._outcome
        if outcome is None or self._job is None:
            return
        if self._is_outside:
            self.turn.leave()
        try:
            if not self.interruption.requested:
                outcome.result = self._job(self._connect)
        except Interrupted:
            pass
        except BaseException as exc:
            outcome.error = exc
        self._finish()

    def _finish(self) -> None:
        """Deliver the outcome, or discard it."""
        outcome, self._outcome = self._outcome, None
        _threads.jobs.discard(self)
        # They hold the password. An error's traceback refers to the frames of the thread, and these to this object.
        self._job = self._connection = None
        if outcome is None:
            return
        if self.interruption.requested:
            outcome.discard()
            if not self._is_ended:
                return
            outcome.error = no_thread()
        try:
            self.loop.call_soon_threadsafe(self._deliver, outcome)
        except RuntimeError:  # the loop was closed
            outcome.discard()

    def _deliver(self, outcome: _Outcome[_T]) -> None:
        if self._future.done():  # cancelled, together with the task that waited
            outcome.discard()
        else:
            # The loop may be closed before the task runs again, and the program may keep the task. So the future does
            # not keep the outcome; a callback does, which runs after the task, or is dropped when the loop is closed.
            self._future.set_result(weakref.ref(outcome))
            self.loop.call_soon(_hold, outcome)


def _hold(_outcome: _Outcome[Any]) -> None:
    """Do nothing. The event loop keeps a reference to the argument until it has called this function."""


async def run(
    job: Callable[[Connector], _T],
    meter: Meter,
    discard: Callable[[_T], object] | None = None,
    *,
    outside: bool = False,
) -> _T:
    """Run a job that connects, in a separate thread and in a copy of the caller's context.

    Args:
        job: Called in the thread, with the function that creates its connections.
        meter: The clock of the connect.
        discard: Releases a result that is not taken. Called in any thread.
        outside: Run the job outside the gate, because it waits for something else than its connection.

    Raises:
        IoError: No thread can be started.
        Error: The error of the job.
    """
    return await _Attempt(job, meter, discard, outside=outside).run()


def _watch() -> None:
    """Let late attempts fail. After the main thread has ended, interrupt the attempts of stopped event loops."""
    for attempt in list(_threads.jobs):
        if attempt.is_late and attempt.withdraw():
            _threads.start_thread(attempt)  # the thread raises the timeout, with the server's name
    if threading.main_thread().is_alive():
        return
    others_remain = any(
        not (thread.daemon or thread.name == THREAD_NAME) and thread is not threading.main_thread()
        for thread in threading.enumerate()
    )
    for attempt in list(_threads.jobs):
        if attempt.is_orphaned:
            attempt.end(deliver=others_remain)


def _reset_after_fork() -> None:
    """Close the child's copies of the sockets: the threads that own them exist only in the parent."""
    attempts = list(_threads.jobs)
    _threads.reset()
    for attempt in attempts:
        attempt.close_in_child()


_threads: ThreadPool[_Attempt[Any]] = ThreadPool(_watch)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
