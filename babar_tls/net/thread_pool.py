"""The threads that connect, and the thread that starts them.

Each job waits for a place at the gate, and then has a thread until it ends. The number of threads has no limit, because
a limit would let servers that do not respond block the other connects. A thread that has finished waits a moment for
another job. With many connects at once, this reuse saves a fifth of the time. The threads are not daemons, because the
interpreter kills daemon threads when it ends, and Rust code then aborts the process.

The starter is a separate thread, because `threading.Thread.start` waits until the new thread runs. That takes long
while other threads compute, and would block an event loop that begins a hundred connects.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ..errors import IoError
from .gate import Gate, Turn, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable


#: The name of the threads, including the starter.
THREAD_NAME = "babar-tls connect"
#: The number of threads that compute at a time. More would wait for the GIL most of the time.
_PLACES = 3
#: Seconds that an idle thread waits for another job, and seconds between the starter's checks of the jobs.
_LINGER = 0.25
_POLL = 0.1


class Job(Protocol):
    """The work of a thread.

    Attributes:
        turn: The job's use of the gate.
    """

    turn: Turn

    def work(self) -> None:
        """Run the job; the thread keeps its place at the gate if it has one at the end."""

    def fail(self, error: IoError) -> None:
        """Report that no thread could be started; called instead of `work`."""


_J = TypeVar("_J", bound=Job)


class ThreadPool(Generic[_J]):
    """The threads, the starter, and the gate.

    Args:
        watch: Called regularly by the starter while there are jobs, also after the end of the main thread.

    Attributes:
        gate: The gate at which jobs wait for a place.
        jobs: The submitted jobs. The caller removes them.
    """

    def __init__(self, watch: Callable[[], object]) -> None:
        self._watch = watch
        self.gate: Gate[_J] = Gate(_PLACES, self._assign)
        self._reset_threads()

    def reset(self) -> None:
        """Forget all threads and jobs. Called in a forked child, where no other thread exists."""
        self.gate.reset()
        self._reset_threads()

    def _reset_threads(self) -> None:
        # Not `SimpleQueue`: its `get` may wait forever despite a timeout. If another thread takes the item that woke
        # it, it computes the remaining time, and treats a negative result as no limit.
        self._lock = threading.Lock()
        self._thread_wanted = threading.Condition(self._lock)
        self._job_given = threading.Condition(self._lock)
        self.jobs: set[_J] = set()
        self._without_thread: deque[_J] = deque()
        self._given: deque[_J | None] = deque()
        self._idle = 0  # threads that wait for a job, minus the jobs in the queue; negative while a thread starts
        self._starter: threading.Thread | None = None

    def submit(self, job: _J, waiting: Waiting[_J]) -> None:
        """Queue a job at the gate.

        Raises:
            IoError: The starter does not run and cannot be started.
        """
        if threading.current_thread().daemon and not threading.main_thread().is_alive():
            raise no_thread()  # its connects, one after the other, would keep the program from ending
        with self._lock:
            self._ensure_starter()
            self.jobs.add(job)
        self.gate.submit(waiting)

    def start_thread(self, job: _J) -> None:
        """Start a thread for a job."""
        # The job is not an argument, because the thread object would keep it until the thread ends. If an idle thread
        # takes the job, the new thread becomes idle.
        with self._lock:
            self._give(job)
        try:
            threading.Thread(target=self._serve, name=THREAD_NAME, daemon=False).start()
        except (RuntimeError, MemoryError) as exc:
            error = no_thread()
            error.__cause__ = exc
            self._refuse_job(error)

    def _refuse_job(self, error: IoError) -> None:
        with self._lock:
            if not self._given:
                return  # an idle thread took it
            job = self._given.popleft()
            self._idle += 1
        if job is not None:
            job.turn.leave()
            job.fail(error)

    def _assign(self, job: _J) -> None:
        """Give a job that has a place to an idle thread, or request a thread for it from the starter."""
        job.turn.inside = True
        with self._lock:
            if self._idle > 0:
                self._give(job)
            else:
                self._without_thread.append(job)
                self._thread_wanted.notify()
                with contextlib.suppress(IoError):  # the next connect tries again
                    self._ensure_starter()

    def _give(self, job: _J | None) -> None:
        """Give a job to an idle or starting thread, or None to end it; called with the lock."""
        self._idle -= 1
        self._given.append(job)
        self._job_given.notify()

    def _ensure_starter(self) -> None:
        if self._starter is not None and self._starter.is_alive():
            return
        starter = threading.Thread(target=self._start_threads, name=THREAD_NAME, daemon=False)
        try:
            starter.start()
        except (RuntimeError, MemoryError) as exc:
            raise no_thread() from exc
        self._starter = starter

    def _start_threads(self) -> None:
        """Start threads, and watch, until there are neither jobs nor idle threads.

        `atexit` functions would be too late to end idle threads, because Python waits for non-daemon threads before.
        """
        main = threading.main_thread()
        watched = time.monotonic()
        while True:
            self._start_wanted()
            if time.monotonic() - watched < _POLL:
                continue
            watched = time.monotonic()
            self._watch()
            with self._lock:
                while self._idle > 0 and not main.is_alive():
                    self._give(None)
                if not self.jobs and self._idle == 0 and not self._without_thread:
                    self._starter = None
                    return

    def _start_wanted(self) -> None:
        """Start a thread for a job that needs one, or wait for such a job for a moment."""
        with self._lock:
            if not self._thread_wanted.wait_for(lambda: self._without_thread, _POLL):
                return
            job = self._without_thread.popleft()
        self.start_thread(job)

    def _serve(self) -> None:
        """Run jobs one after the other, until no job arrives within `_LINGER` seconds."""
        with self._lock:
            self._idle += 1
        job = self._wait_for_job()
        while job is not None:
            turn = job.turn
            if turn.inside:
                turn.begin()
            job.work()
            job = None  # it holds the configuration, and with it the password
            if turn.inside:
                job = self.gate.exchange()
            if job is None:
                job = self._next()
            else:
                job.turn.inside = True

    def _next(self) -> _J | None:
        with self._lock:
            if self._starter is None or not threading.main_thread().is_alive():
                return None  # the starter, which ends idle threads at exit, does not run
            self._idle += 1
        return self._wait_for_job()

    def _wait_for_job(self) -> _J | None:
        with self._lock:
            if self._job_given.wait_for(lambda: self._given, _LINGER):
                return self._given.popleft()
            self._idle -= 1
            return None


def no_thread() -> IoError:
    """Return the error for a connect for which no thread can be started."""
    return IoError(
        "cannot start a thread for the connect",
        remedy="The process has reached a limit of threads or memory (ulimit -u, pids.max), or is about to end.",
    )
