"""A few threads, beside the event loop, that connect: coroutines whose steps and waits are theirs.

A connect is a millisecond or two of computing, TLS's and SCRAM's, in pieces between waits for the network. Computed on
the event loop, a hundred of them at a time would keep everything else there from running, and one core would have to do
it all, though OpenSSL and PBKDF2 release the GIL. Nor can the loop do the waiting for other threads that compute:
each of its system calls would let go of the GIL, and wait to have it back.

So each of these threads is a small loop of its own, which waits for the sockets of many connects and takes each a step
further when something has come. The event loop sees a connect twice: when it begins and when it is done.

A hundred connects that begin at once are a hundred processes that a server starts at once, which get into each other's
way, and, if it is on this machine, into that of the event loop. So a thread goes on with a few of them and lets the
others wait, which costs no time: the few are all that it, or the server, can compute at once. One that has to wait for
longer is not counted any more. A server that is far away, slow or silent therefore holds up nobody.
"""

from __future__ import annotations

import math
import os
import selectors
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import IoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .aside import Aside

__all__ = ["Ready", "Worker", "pool"]

#: More would wait for the GIL most of the time.
_MOST = min(4, max(2, os.cpu_count() or 1))
_REMEDY = "The process has reached a limit, of open files (ulimit -n) or of threads."
#: Connects that one thread has at a time, if they make progress.
_AT_A_TIME = 2
_LINGER = 0.25  # seconds that a thread with nothing to do waits for another connect before it ends


class Ready(NamedTuple):
    """What a coroutine waits for: that the socket is ready for these events, but no longer than so many seconds."""

    sock: socket.socket
    events: int
    seconds: float | None


class _Watch:
    """What a thread waits for with one socket."""

    def __init__(self, events: int) -> None:
        self.events = events
        self.resume: Callable[[bool], None] | None = None


class Worker:
    """One thread: a selector, what is to be called for each of its sockets, and what others ask it to call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[Callable[[], object]] = deque()
        self._asleep = False
        self._watches: dict[socket.socket, _Watch] = {}
        self._timed: dict[socket.socket, float] = {}
        self._queue: deque[Aside[Any]] = deque()
        self._counted: dict[Aside[Any], float] = {}  # of those that it goes on with, until when
        self.load = 0  # coroutines that it has
        self.ended = False
        self._selector = selectors.DefaultSelector()
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        try:
            threading.Thread(target=self._work, name="babar-tls worker", daemon=True).start()
        except RuntimeError:
            self.close()
            raise

    def claim(self) -> bool:
        """Take on another coroutine, if it is not too late."""
        with self._lock:
            self.load += not self.ended
            return not self.ended

    def release(self, aside: Aside[Any]) -> None:
        """One coroutine less."""
        self._counted.pop(aside, None)
        with self._lock:
            self.load -= 1

    def admit(self, aside: Aside[Any] | None = None) -> None:
        """Begin what there is room for, this one last."""
        if aside is not None:
            self._queue.append(aside)
        while self._queue and self._has_room():
            first = self._queue.popleft()
            if not first.abandoned:
                self._counted[first] = math.inf
                first.begin()

    def be_patient(self, aside: Aside[Any]) -> None:
        """The coroutine waits from now on."""
        if aside in self._counted:
            self._counted[aside] = time.monotonic() + aside.patience

    def _has_room(self) -> bool:
        if len(self._counted) >= _AT_A_TIME:
            now = time.monotonic()
            self._counted = {aside: until for aside, until in self._counted.items() if until > now}
        return len(self._counted) < _AT_A_TIME

    def submit(self, job: Callable[[], object]) -> bool:
        """Have the thread call `job`, which must not raise; `False` if it has ended."""
        with self._lock:
            if self.ended:
                return False
            self._jobs.append(job)
            asleep, self._asleep = self._asleep, False
        if asleep:
            try:
                self._button.send(b"\0")
            except OSError:
                pass  # it rings already
        return True

    def watch(self, wait: Ready, resume: Callable[[bool], None]) -> None:
        """Call `resume`, once, when the socket is ready; in this thread, and called from it."""
        watch = self._watches.get(wait.sock)
        if watch is None:
            watch = _Watch(wait.events)
            self._selector.register(wait.sock, wait.events, watch)
            self._watches[wait.sock] = watch
        elif watch.events != wait.events:
            self._selector.modify(wait.sock, wait.events, watch)
            watch.events = wait.events
        watch.resume = resume
        if wait.seconds is not None:
            self._timed[wait.sock] = time.monotonic() + wait.seconds

    def unwatch(self, sock: socket.socket) -> None:
        """The socket is no longer this thread's."""
        self._timed.pop(sock, None)
        if self._watches.pop(sock, None) is not None:
            self._selector.unregister(sock)

    def close(self) -> None:
        """Let go of what it waits with."""
        self._selector.close()
        self._bell.close()
        self._button.close()

    def _work(self) -> None:
        rested = False
        while True:
            while self._jobs:
                rested = False
                self._jobs.popleft()()
            self.admit()
            with self._lock:
                if self._jobs:
                    continue
                if rested and not self.load:
                    self.ended = True
                    break
                self._asleep = True
                idle = not self.load
            events = self._selector.select(_LINGER if idle else self._seconds())
            self._asleep = False
            rested = idle and not events
            for key, _ in events:
                if key.data is None:
                    self._bell.recv(1 << 10)
                else:
                    self._resume(key.fileobj, key.data, ready=True)  # type: ignore[arg-type]  # it is a socket
            if self._timed:
                self._look_at_the_clock()
        self.close()

    def _seconds(self) -> float | None:
        until = min(self._timed.values(), default=math.inf)
        if self._queue:
            until = min(until, *self._counted.values())
        return max(0.0, until - time.monotonic()) if until < math.inf else None

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        for sock in [sock for sock, until in self._timed.items() if until <= now]:
            self._resume(sock, self._watches[sock], ready=False)

    def _resume(self, sock: socket.socket, watch: _Watch, *, ready: bool) -> None:
        resume, watch.resume = watch.resume, None
        if resume is None:
            self.unwatch(sock)  # nobody wants to know, and the selector would say it again and again
        else:
            self._timed.pop(sock, None)
            resume(ready)


class _Pool:
    """The threads: started when there is something to do, and ended by themselves when there is nothing."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._workers: list[Worker] = []

    def reserve(self) -> Worker:
        """The thread that has the least to do, for one coroutine more.

        Raises:
            IoError: There is none, and none can be started.
        """
        with self._lock:
            while True:
                self._workers = [worker for worker in self._workers if not worker.ended]
                worker = min(self._workers, key=lambda worker: worker.load, default=None)
                if worker is None or (worker.load and len(self._workers) < self.most):
                    worker = self._started() or worker
                if worker is None:
                    raise IoError("no thread to connect with can be started", remedy=_REMEDY) from self._failure
                if worker.claim():
                    return worker

    def _started(self) -> Worker | None:
        try:
            worker = Worker()
        except (OSError, RuntimeError) as exc:  # no more sockets, no more threads
            self._failure = exc
            return None
        self._workers.append(worker)
        return worker

    def after_fork(self) -> None:
        """The child has none of the threads, and locks that nobody will release."""
        for worker in self._workers:
            worker.close()
        self.__init__(self.most)  # type: ignore[misc]  # there is one pool, and everybody has it


pool = _Pool(_MOST)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.after_fork)
