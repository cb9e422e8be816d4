"""Connect from asyncio: the blocking driver in a thread for each connect, and the ready socket for the event loop.

::

    event loop           run(job) ──► queue ── await future ─────────────────────────► result
                                        │                     ▲
    connecting thread                   └─► job(connect) ─────┘ call_soon_threadsafe

* Threads. Each connect has a thread while it lasts, so that a silent or slow server delays only its own connect. There
  is no limit, because a limit would let silent servers block the others. A thread that has finished waits for
  another connect for a moment: in a storm of connects, reuse saves a fifth of the time. The threads are not daemons:
  the interpreter kills daemon threads when it ends, and Rust code aborts the process when that happens.
* Computing. `gate` limits how many threads compute. A derivation of many iterations waits in a queue of its own
  instead, and runs outside the gate.
* Cancellation. The task that is cancelled does not wait: it interrupts the thread (`interruption`), which closes its
  socket.
* Delivery. A result that is not taken, because the task was cancelled in the same tick or the loop was closed, is
  discarded, which closes its socket.
* Exit. When the main thread ends, Python waits for these threads, and the starter interrupts the connects whose event
  loop does not run any more.

The starter is a thread because `threading.Thread.start` waits until the new thread runs, which takes a while when
others compute: an event loop that began a hundred connects would be blocked for as long.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import threading
import time
import weakref
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from ..errors import Closed, IoError
from ..protocol.requests import Phase
from .blocking import BlockingConnection
from .deadline import timeout_error
from .gate import Gate, Turn, Waiting
from .interruption import LONGEST_WAIT, Interruption
from .sockets import AddressInfo, look_up, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..config import Config
    from ..protocol.requests import Derive, Endpoint, ScramKeys
    from ..tls.contract import TlsBackend, TlsParameters, TlsStream
    from .blocking import Connector
    from .deadline import Meter

__all__ = ["THREAD_NAME", "run"]

#: The name of the threads, including the starter.
THREAD_NAME = "babar-tls connect"
#: How many threads compute at a time. More would wait for the GIL most of the time.
_PLACES = 3
#: A derivation of more iterations runs outside the gate, one at a time.
_LONG_DERIVATION = 20_000
#: Seconds that an idle thread waits for another connect, and in which the starter notices the end of the main thread.
_LINGER = 0.25
_POLL = 0.1

_LOCAL_ADDRESSES = ("127.0.0.1", "::1")
_IN_PROGRESS = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR)

_T = TypeVar("_T")

_derivations: Gate[None] = Gate(1)


class _Interrupted(BaseException):
    """The connect is not wanted any more. It passes through everything that handles errors."""


class _Connection(BlockingConnection):
    """The blocking driver on a non-blocking socket, which waits and computes as the gate allows."""

    def __init__(self, config: Config, meter: Meter, interruption: Interruption, turn: Turn) -> None:
        self._turn = turn
        super().__init__(config, meter, interruption)

    def _dial(self, sock: socket.socket, address: Any, seconds: float | None) -> None:
        self._enter(self._turn, Phase.TCP)
        left = self.meter.remaining(Phase.TCP)  # waiting for the gate took some
        if left is not None and seconds is not None:
            seconds = min(seconds, left)
        is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        self._turn.expect_server(is_local=not is_tcp or str(address[0]) in _LOCAL_ADDRESSES)
        sock.setblocking(False)
        code = sock.connect_ex(address)
        self._check()  # before `connect` there was nothing that an interruption could shut down
        if code in _IN_PROGRESS and is_tcp:
            if not self._wait(sock, Phase.TCP, seconds, write=True):
                raise timeout_error(Phase.TCP)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def _look_up(self, endpoint: Endpoint, seconds: float | None) -> list[AddressInfo] | None:
        with self._outside(Phase.RESOLVE):
            # In this thread it would keep the program from ending.
            here = threading.main_thread().is_alive()
            return look_up(endpoint, seconds, self.interruption, here=here)

    def _wrap(self, backend: TlsBackend, parameters: TlsParameters, server_hostname: str) -> TlsStream:
        identity = parameters.client_certificate
        if identity is None or not callable(identity.password):
            return super()._wrap(backend, parameters, server_hostname)
        with self._outside(Phase.TLS):  # the caller's function may block
            return super()._wrap(backend, parameters, server_hostname)

    def _derive_keys(self, request: Derive, is_cancelled: Callable[[], bool] | None = None) -> ScramKeys | None:
        if request.iterations <= _LONG_DERIVATION:
            keys = super()._derive_keys(request, lambda: self.interruption.requested)
            self._check()
            return keys
        with self._outside(Phase.AUTH):
            lane = Turn(_derivations, self.interruption)

            def pause() -> bool:
                """Let the next derivation have a slice of its own; return True if this one is not wanted."""
                if lane.is_over():
                    lane.leave()
                    deadline = self.meter.deadline  # which the derivation checks, with an error of its own
                    lane.enter(None if deadline is None else deadline - time.monotonic())
                return self.interruption.requested

            try:
                self._enter(lane, Phase.AUTH)
                return super()._derive_keys(request, pause)
            finally:
                lane.leave()

    def _warn(self, message: str) -> None:
        with self._outside(Phase.AUTH):  # the caller's log handler may block
            super()._warn(message)

    def _send_all(self, sock: socket.socket, data: bytes, phase: Phase) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[sock.send(rest) :]
            except (BlockingIOError, InterruptedError):
                self._wait(sock, phase, self.meter.remaining(phase), write=True)
                self.meter.remaining(phase)

    def _read(self, sock: socket.socket, buffer: memoryview, phase: Phase) -> int:
        while True:
            try:
                return super()._read(sock, buffer, phase)
            except BlockingIOError:
                self._await_data(phase)  # it was not ready after all

    def _await_data(self, phase: Phase) -> socket.socket:
        sock = self._ready_socket(phase)
        if self._turn.is_over():
            with self._outside(phase):
                pass  # to the end of the queue
        while not self._wait(sock, phase, self.meter.remaining(phase)):
            pass  # `remaining` raises the error
        return sock

    def _ready_socket(self, phase: Phase) -> socket.socket:
        self._check()
        if self._socket is None:
            raise Closed("the connection is closed")
        self.meter.remaining(phase)
        return self._socket

    def _wait(self, sock: socket.socket, phase: Phase, seconds: float | None, *, write: bool = False) -> bool:
        """Wait until the socket is ready; return False if that takes longer."""
        started = time.monotonic()
        end = None if seconds is None else started + seconds
        moment = self._turn.moment()
        if wait_for(sock, write=write, seconds=moment if seconds is None else min(moment, seconds)):
            self._turn.answered(time.monotonic() - started, inside=True)
            self._check()
            return True
        if moment:
            self._turn.lose_patience()
        with self._outside(phase):
            while True:
                self._check()
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return False
                step = left if LONGEST_WAIT is None else min(LONGEST_WAIT, left or LONGEST_WAIT)
                if wait_for(sock, write=write, seconds=step):
                    self._turn.answered(time.monotonic() - started, inside=False)
                    return True

    @contextlib.contextmanager
    def _outside(self, phase: Phase) -> Iterator[None]:
        """Leave the gate for a while. After an error the thread stays outside until it opens another connection."""
        self._turn.leave()
        yield
        self._enter(self._turn, phase)

    def _enter(self, turn: Turn, phase: Phase) -> None:
        """Enter a gate, unless the thread is inside; raise if there is no time for that, or no need any more."""
        self._check()
        entered = turn.enter(self.meter.remaining(phase))
        self._check()
        if not entered:
            raise timeout_error(phase)

    def _check(self) -> None:
        if self.interruption.requested:
            raise _Interrupted

    def _interrupted(self) -> NoReturn:
        raise _Interrupted


class _Outcome(Generic[_T]):
    """The result of a thread, which must be taken or is discarded, or its error."""

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
                del error  # whose traceback refers to this frame
        self._discard = None
        result = self.result
        del self.result
        return result

    def discard(self) -> None:
        """Release the result, if it was not taken."""
        self.error = None  # whose traceback refers to this object
        discard, self._discard = self._discard, None
        if discard is not None and hasattr(self, "result"):
            discard(self.result)

    def __del__(self) -> None:
        # The loop was closed before it delivered this, or before the task that waits for it ran again.
        self.discard()


class _Attempt(Generic[_T]):
    """One job in a thread of its own, and the task that waits for it."""

    def __init__(self, job: Callable[[Connector], _T], meter: Meter, discard: Callable[[_T], object] | None) -> None:
        self.interruption = Interruption()
        self.loop = asyncio.get_running_loop()
        self._caller = threading.current_thread()
        self._job = job
        self._meter = meter
        self._outcome: _Outcome[_T] | None = _Outcome(discard)
        self._waiting: Waiting[_Attempt[Any]] = Waiting(self)
        self._is_ended = False
        self._future: asyncio.Future[weakref.ref[_Outcome[_T]]] = self.loop.create_future()
        self.turn = Turn(_threads.gate, self.interruption)
        self._context = copy_context()
        self._connection: _Connection | None = None

    async def run(self) -> _T:
        """Have a thread do the job, and wait for its outcome."""
        try:
            _threads.submit(self)
            outcome = (await self._future)()
        except BaseException:
            self.interrupt()
            _threads.forget(self)
            if self._future.done() and not self._future.cancelled():
                outcome = self._future.result()()
                if outcome is not None:
                    outcome.discard()
            raise
        if outcome is None:
            raise Closed("the event loop was closed while it connected")
        return outcome.take()

    def interrupt(self) -> None:
        """End the attempt: it is not wanted any more."""
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

    def queue(self) -> None:
        """Wait for a place at the gate."""
        _threads.gate.submit(self._waiting)

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

    def _connect(self, config: Config, meter: Meter) -> _Connection:
        self._connection = _Connection(config, meter, self.interruption, self.turn)
        return self._connection

    def work(self) -> None:
        """Do the job; called in the thread, which keeps the place at the gate if it has one at the end."""
        self._context.run(self._work)

    def fail(self, error: BaseException) -> None:
        """Deliver an error instead; called if there is no thread."""
        if self._outcome is not None:
            self._outcome.error = error
        self._finish()

    def _work(self) -> None:
        outcome = self._outcome
        if outcome is None:
            return
        try:
            if not self.interruption.requested:
                outcome.result = self._job(self._connect)
        except _Interrupted:
            pass
        except BaseException as exc:
            outcome.error = exc
        self._finish()

    def _finish(self) -> None:
        """Deliver the outcome, or discard it."""
        outcome, self._outcome = self._outcome, None
        _threads.forget(self)
        if outcome is None:
            return
        if self.interruption.requested:
            outcome.discard()
            if not self._is_ended:
                return
            outcome.error = _no_thread()
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
    """Do nothing: the callback's argument is what matters."""


async def run(job: Callable[[Connector], _T], meter: Meter, discard: Callable[[_T], object] | None = None) -> _T:
    """Run a job that connects in a thread of its own, in a copy of the caller's context.

    Args:
        job: Called in the thread, with what makes its connections.
        meter: The clock of the connect.
        discard: Releases a result that is not taken. Called in any thread.

    Raises:
        IoError: No thread can be started.
        Error: What the job raises.
    """
    return await _Attempt(job, meter, discard).run()


class _Threads:
    """The connecting threads, the starter, and the gate at which attempts wait for them."""

    def __init__(self) -> None:
        self.gate: Gate[_Attempt[Any]] = Gate(_PLACES, self._assign)
        self._reset()

    def _reset(self) -> None:
        # Not `SimpleQueue`: its `get` may wait without end despite a timeout. It computes what is left of the timeout
        # after another thread took the item for which it was woken, and a negative rest means no limit there.
        self._lock = threading.Lock()
        self._thread_wanted = threading.Condition(self._lock)
        self._job_given = threading.Condition(self._lock)
        self._attempts: set[_Attempt[Any]] = set()  # those that a task waits for
        self._without_thread: deque[_Attempt[Any]] = deque()
        self._jobs: deque[_Attempt[Any] | None] = deque()
        self._idle = 0  # threads that wait for a job, less the jobs in the queue: negative while a thread starts
        self._starter: threading.Thread | None = None

    def submit(self, attempt: _Attempt[Any]) -> None:
        """Queue the attempt at the gate.

        Raises:
            IoError: The starter does not run and cannot be started.
        """
        if threading.current_thread().daemon and not threading.main_thread().is_alive():
            raise _no_thread()  # its connects, one after the other, would keep the program from ending
        with self._lock:
            self._ensure_starter()
            self._attempts.add(attempt)
        attempt.queue()

    def _ensure_starter(self) -> None:
        if self._starter is not None and self._starter.is_alive():
            return
        starter = threading.Thread(target=self._start_threads, name=THREAD_NAME, daemon=False)
        try:
            starter.start()
        except (RuntimeError, MemoryError) as exc:
            raise _no_thread() from exc
        self._starter = starter

    def forget(self, attempt: _Attempt[Any]) -> None:
        """Remove an attempt that has finished, or that does not need to be watched any more."""
        self._attempts.discard(attempt)

    def reset_after_fork(self) -> None:
        """Close the child's copies of the sockets: the threads that own them exist only in the parent."""
        attempts = list(self._attempts)
        self.gate.reset()
        self._reset()
        for attempt in attempts:
            attempt.close_in_child()

    def _assign(self, attempt: _Attempt[Any]) -> None:
        """Give an attempt that has a place to an idle thread, or have a thread started for it."""
        attempt.turn.inside = True
        with self._lock:
            if self._idle > 0:
                self._give(attempt)
            else:
                self._without_thread.append(attempt)
                self._thread_wanted.notify()
                with contextlib.suppress(IoError):  # the next connect tries again
                    self._ensure_starter()

    def _give(self, job: _Attempt[Any] | None) -> None:
        """Have an idle thread, or the one that is about to start, do a job, or end; called with the lock."""
        self._idle -= 1
        self._jobs.append(job)
        self._job_given.notify()

    def _start_threads(self) -> None:
        """Start threads; once the main thread has ended, interrupt the attempts whose event loop does not run.

        `atexit` functions run after Python has waited for the threads that are not daemons: too late for that.
        """
        main = threading.main_thread()
        looked = time.monotonic()
        while True:
            self._start_wanted()
            if time.monotonic() - looked < _POLL:
                continue
            looked = time.monotonic()
            self._start_late()
            if not main.is_alive():
                self._let_program_end()
            with self._lock:
                if not self._attempts and self._idle == 0 and not self._without_thread:
                    self._starter = None
                    return

    def _start_wanted(self) -> None:
        """Start a thread for an attempt that needs one, or wait for that for a moment."""
        with self._lock:
            if not self._thread_wanted.wait_for(lambda: self._without_thread, _POLL):
                return
            attempt = self._without_thread.popleft()
        self._start_thread(attempt)

    def _start_thread(self, attempt: _Attempt[Any]) -> None:
        # Not an argument, which a thread object keeps for as long as it runs. If an idle thread takes the attempt, the
        # new thread waits in its place.
        with self._lock:
            self._give(attempt)
        try:
            threading.Thread(target=self._serve, name=THREAD_NAME, daemon=False).start()
        except (RuntimeError, MemoryError) as exc:
            error = _no_thread()
            error.__cause__ = exc
            self._refuse_job(error)

    def _refuse_job(self, error: IoError) -> None:
        with self._lock:
            if not self._jobs:
                return  # an idle thread took it
            attempt = self._jobs.popleft()
            self._idle += 1
        if attempt is not None:
            attempt.turn.leave()
            attempt.fail(error)

    def _start_late(self) -> None:
        """Start threads for attempts whose deadline has passed: they raise an error that names the server."""
        for attempt in list(self._attempts):
            if attempt.is_late and attempt.withdraw():
                self._start_thread(attempt)

    def _let_program_end(self) -> None:
        others_remain = any(
            not (thread.daemon or thread.name == THREAD_NAME) and thread is not threading.main_thread()
            for thread in threading.enumerate()
        )
        for attempt in list(self._attempts):
            if attempt.is_orphaned:
                attempt.end(deliver=others_remain)
        with self._lock:
            while self._idle > 0:
                self._give(None)

    def _serve(self) -> None:
        """Work on one attempt after the other, until there is none for a while."""
        with self._lock:
            self._idle += 1
        attempt = self._wait_for_job()
        while attempt is not None:
            turn = attempt.turn
            if turn.inside:
                turn.begin()
            attempt.work()
            attempt = None  # it holds the configuration, and with it the password
            if turn.inside:
                attempt = self.gate.exchange()
            if attempt is None:
                attempt = self._next()
            else:
                attempt.turn.inside = True

    def _next(self) -> _Attempt[Any] | None:
        with self._lock:
            if self._starter is None or not threading.main_thread().is_alive():
                return None  # at the end of the program it would not be told to end
            self._idle += 1
        return self._wait_for_job()

    def _wait_for_job(self) -> _Attempt[Any] | None:
        with self._lock:
            if self._job_given.wait_for(lambda: self._jobs, _LINGER):
                return self._jobs.popleft()
            self._idle -= 1
            return None


_threads = _Threads()


def _no_thread() -> IoError:
    return IoError(
        "no thread to connect with can be started",
        remedy="The process has reached a limit of threads or memory (ulimit -u, pids.max), or is about to end.",
    )


def _reset_after_fork() -> None:
    _derivations.reset()
    _threads.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
