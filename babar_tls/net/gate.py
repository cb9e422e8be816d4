"""Limit how many connecting threads compute at the same time.

A connect is one to two milliseconds of computing, in pieces between waits for the network. If a hundred threads compute
at once they wait for the GIL most of the time, and so does the event loop; the server starts a hundred processes at
once, which compete for the same cores where it runs on the same machine. So a thread computes only while it holds one
of a few places at the gate. A job waits for a place before it gets a thread.

No server can hold a place for long by what it sends:

* The queue is first in, first out. A thread that has computed for `QUANTUM` seconds since it entered goes to the end of
  the queue when others wait (`Turn.is_over`). A thread that is flooded never waits for the network, so that leaving
  only for waits would not be enough.
* A thread leaves before it waits for the network. Only if the server is on the same machine, the thread first waits
  inside for a moment: the server computes then, and another connect would compete with it for the cores. All such
  moments of one connect are limited by `LOCAL_PATIENCE`. A server that does not answer in its moment loses the rest of
  it, and makes the moments of all connects shorter.
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
    """A place in the queue, of a job or, without one, of a thread."""

    __slots__ = ("_claims", "granted", "job", "signal")

    def __init__(self, job: _J | None = None) -> None:
        self.job = job
        self.granted = False
        self.signal = None if job is not None else threading.Lock()
        self._claims = [True]
        if self.signal is not None:
            self.signal.acquire()

    def claim(self) -> bool:
        """Take it out of the queue; return True for one caller only, whichever threads and destructors call it."""
        try:
            self._claims.pop()
        except IndexError:
            return False
        return True

    def withdraw(self) -> bool:
        """Give it up, and wake its thread; return False if it has a place, or was given up before.

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
        places: How many threads may be inside.
        assign: Called with a job that got a place; it must find a thread for it.

    Attributes:
        moment: For how many seconds a thread may wait for a server inside.
    """

    def __init__(self, places: int, assign: Callable[[_J], object] | None = None) -> None:
        self._places = places
        self._assign = assign
        self.reset()

    def reset(self) -> None:
        """Forget all threads and jobs; in a forked child no other thread exists."""
        self._lock = threading.Lock()
        self._free = self._places
        self._queue: deque[Waiting[_J]] = deque()  # some were given up
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
            interruption: What ends the wait early.
            seconds: How long to wait, `None` for no limit.

        Returns:
            False if the time is over or the wait was interrupted; then there is nothing to leave.
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
        """Leave, or take over the job that has waited longest, if no thread has waited longer, and keep the place."""
        waiting = self._next()
        if waiting is None or waiting.signal is not None:
            if waiting is not None:
                self._grant(waiting)
            return None
        job, waiting.job = waiting.job, None
        return job

    def _next(self) -> Waiting[_J] | None:
        """Return the thread or job that gets the place, or None, and then the place is free."""
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
        self._patience = 0.0  # seconds, in all, that the connect may still wait for its server inside
        self.inside = False

    def enter(self, seconds: float | None) -> bool:
        """Wait for a place unless the connect has one; return False if the time is over or the wait was interrupted."""
        if not self.inside and self._gate.enter(self._interruption, seconds):
            self.begin()
        return self.inside

    def begin(self) -> None:
        """Begin inside, with a place that was granted before."""
        self.inside = True
        self._since = time.thread_time()

    def leave(self) -> None:
        """Give up the place, if there is one."""
        if self.inside:
            self.inside = False
            self._gate.leave()

    def is_over(self) -> bool:
        """Return True if the thread is to go to the end of the queue: it has computed for long, and others wait."""
        return self._gate.has_queue and time.thread_time() - self._since > QUANTUM

    def expect_server(self, *, is_local: bool) -> None:
        """Allow waits inside if the server computes on the same machine."""
        self._is_local = is_local
        self._patience = LOCAL_PATIENCE if is_local else 0.0

    def moment(self) -> float:
        """Return for how many seconds the thread may wait for its server inside."""
        moment = min(self._patience, self._gate.moment)
        return moment if moment >= _SHORTEST_MOMENT else 0.0

    def lose_patience(self) -> None:
        """Record that the server did not answer in its moment."""
        self._patience = 0.0
        self._gate.moment /= 2

    def answered(self, seconds: float, *, inside: bool) -> None:
        """Record how long the server took, and whether the thread waited inside."""
        if inside:
            self._patience -= seconds
        if self._is_local and seconds <= _LONGEST_MOMENT:
            self._gate.moment = min(self._gate.moment + _REGAINED, _LONGEST_MOMENT)
