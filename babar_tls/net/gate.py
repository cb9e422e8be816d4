"""Limit how many connecting threads compute at the same time.

A connect needs one to two milliseconds of CPU time, in parts between waits for the network. If a hundred threads
compute at once, they and the event loop wait for the GIL most of the time. The server also starts a hundred processes
at once; on the same machine, they compete for the same cores. So a thread computes only while it holds one of a few
places at the gate. A job waits for a place before it gets a thread.

No data that a server sends can keep a thread inside for long:

* The queue is first in, first out. A thread that has computed for `QUANTUM` seconds since it entered goes to the end of
  the queue when others wait (`Turn.is_over`). Leaving only before waits would not be enough, because a
  thread that is flooded with data never waits for the network.
* A thread leaves before it waits for the network. If the server is on the same machine, the thread first waits inside
  for a moment: the server is computing, and another connect would compete with it for the cores. `LOCAL_PATIENCE`
  limits the sum of these moments for one connect. After a moment without a response, this connect has no further
  moments, and the moments of all connects become shorter.
* Waiting for a place ends at the deadline and on interruption.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from .interruption import Interruption


QUANTUM = 0.005  # seconds of computing
LOCAL_PATIENCE = 0.025  # seconds
_LONGEST_MOMENT = 0.01  # seconds
_SHORTEST_MOMENT = 0.001  # seconds
_REGAINED = 0.001  # seconds by which a moment grows with each answer

_J = TypeVar("_J")


class Waiting(Generic[_J]):
    """A place in the queue. It belongs to `job` or, if that is `None`, to a thread."""

    __slots__ = ("_claims", "granted", "job", "signal")

    def __init__(self, job: _J | None = None) -> None:
        self.job = job
        self.granted = False
        self.signal = None if job is not None else threading.Lock()
        self._claims = [True]
        if self.signal is not None:
            self.signal.acquire()

    def claim(self) -> bool:
        """Claim it; return True for the first caller only, even if several threads and destructors call this."""
        try:
            self._claims.pop()
        except IndexError:
            return False
        return True

    def withdraw(self) -> bool:
        """Give up waiting, and wake the thread; return False if a place was granted, or this was called before.

        No lock is needed. The garbage collector may call this, through a task that is destroyed, in the middle of any
        method of the gate.
        """
        if not self.claim():
            return False
        self.job = None
        if self.signal is not None:
            self.signal.release()
        return True


class Gate(Generic[_J]):
    """A few places, and a fair queue for them, of threads and of jobs that have no thread yet.

    Args:
        places: The number of threads that may be inside.
        assign: Called with a job that was granted a place, to find a thread for it.

    Attributes:
        moment: The seconds that a thread may wait inside for a server.
    """

    def __init__(self, places: int, assign: Callable[[_J], object] | None = None) -> None:
        self._places = places
        self._assign = assign
        self.reset()

    def reset(self) -> None:
        """Forget all threads and jobs. Called in a forked child, where no other thread exists."""
        self._lock = threading.Lock()
        self._free = self._places
        self._queue: deque[Waiting[_J]] = deque()  # some may have been given up
        self.moment = _LONGEST_MOMENT

    @property
    def has_queue(self) -> bool:
        """Return True if threads or jobs wait for a place."""
        return bool(self._queue)

    def submit(self, waiting: Waiting[_J]) -> None:
        """Give a job a place, or put it into the queue."""
        with self._lock:
            if not self._free:
                self._queue.append(waiting)
                return
            self._free -= 1
        if waiting.claim():
            self._grant(waiting)
        else:
            self.leave()  # it was given up just now

    def enter(self, interruption: Interruption, seconds: float | None) -> bool:
        """Wait for a place.

        Args:
            interruption: Ends the wait early.
            seconds: The longest wait, `None` for no limit.

        Returns:
            False if the time is over or the wait was interrupted. The caller must not call `leave` then.
        """
        waiting: Waiting[_J] = Waiting()
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            self._queue.append(waiting)
        with interruption.waking(waiting.withdraw):
            if waiting.signal is not None:
                waiting.signal.acquire(timeout=-1 if seconds is None else max(seconds, 0))
        waiting.withdraw()
        return waiting.granted

    def leave(self) -> None:
        """Give the place to the thread or the job that has waited longest."""
        waiting = self._next()
        if waiting is not None:
            self._grant(waiting)

    def exchange(self) -> _J | None:
        """Keep the place for the next job in the queue, and return the job.

        If the queue is empty, or a thread is next, leave and return `None`.
        """
        waiting = self._next()
        if waiting is None or waiting.signal is not None:
            if waiting is not None:
                self._grant(waiting)
            return None
        job, waiting.job = waiting.job, None
        return job

    def _next(self) -> Waiting[_J] | None:
        """Return the thread or job that gets the place, or mark the place as free and return None."""
        with self._lock:
            while self._queue:
                waiting = self._queue.popleft()
                if waiting.claim():
                    return waiting
            self._free += 1
            return None

    def _grant(self, waiting: Waiting[_J]) -> None:
        if waiting.signal is not None:
            waiting.granted = True
            waiting.signal.release()
            return
        job, waiting.job = waiting.job, None
        if self._assign is None or job is None:
            raise RuntimeError("this gate is for threads only")
        self._assign(job)


class Turn:
    """One connect's use of a gate.

    Attributes:
        inside: Whether the connect has a place.
    """

    def __init__(self, gate: Gate[_J], interruption: Interruption) -> None:
        self._gate = gate
        self._interruption = interruption
        self._since = 0.0
        self._is_local = False
        self._patience = 0.0  # total seconds that the connect may still wait inside for its server
        self.inside = False

    def enter(self, seconds: float | None) -> bool:
        """Wait for a place unless the connect has one; return False if the time is over or the wait was interrupted."""
        if not self.inside and self._gate.enter(self._interruption, seconds):
            self.begin()
        return self.inside

    def begin(self) -> None:
        """Start to compute with a place that was already granted."""
        self.inside = True
        self._since = time.thread_time()

    def leave(self) -> None:
        """Give up the place, if there is one."""
        if self.inside:
            self.inside = False
            self._gate.leave()

    def is_over(self) -> bool:
        """Return True if the thread must go to the end of the queue: it has used its quantum, and others wait."""
        return self._gate.has_queue and time.thread_time() - self._since > QUANTUM

    def expect_server(self, *, is_local: bool) -> None:
        """Allow waits inside if the server computes on the same machine."""
        self._is_local = is_local
        self._patience = LOCAL_PATIENCE if is_local else 0.0

    def moment(self) -> float:
        """Return the seconds that the thread may wait inside for its server."""
        moment = min(self._patience, self._gate.moment)
        return moment if moment >= _SHORTEST_MOMENT else 0.0

    def lose_patience(self) -> None:
        """Record that the server did not answer in its moment."""
        self._patience = 0.0
        self._gate.moment /= 2

    def answered(self, seconds: float, *, inside: bool) -> None:
        """Record the server's response time, and whether the thread waited inside."""
        if inside:
            self._patience -= seconds
        if self._is_local and seconds <= _LONGEST_MOMENT:
            self._gate.moment = min(self._gate.moment + _REGAINED, _LONGEST_MOMENT)
