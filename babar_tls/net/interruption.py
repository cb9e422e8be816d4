"""End the waits of the thread that owns a socket, from any other thread or from a signal handler.

Each socket has one owner, and only the owner closes it. ``close()`` from another thread does not wake ``recv``, and the
descriptor's number may belong to another connection by the time that ``recv`` uses it again. So other threads set a
flag and call ``shutdown``, which wakes the owner. The owner checks the flag after each step, and closes the socket.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: The maximum seconds of a wait before the owner checks the flag again; `None` for no limit. Outside Linux,
#: `socket.shutdown` does not wake every wait, because it fails on a socket that is still connecting.
LONGEST_WAIT: float | None = None if sys.platform == "linux" else 0.1


def shut_down(sock: socket.socket) -> None:
    """End both directions of a connection, which wakes the threads that wait for the socket; never raises."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is not connected


class Interruption:
    """The flag, the socket to shut down, and a function that ends another wait of the owner.

    Attributes:
        requested: Whether the owner must stop.
    """

    def __init__(self) -> None:
        # Reentrant: a signal handler may call `request` while its own thread is in one of these methods.
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._socket: socket.socket | None = None
        self._wake: Callable[[], object] | None = None
        self.requested = False

    @property
    def is_forked(self) -> bool:
        """Return True in a child process, whose copy of the socket must not disturb the parent's connection."""
        return os.getpid() != self._process

    def request(self) -> None:
        """Set the flag and wake the owner.

        In a forked child only the flag is set: `shutdown` would act on the parent's connection, and the lock may be
        held by a thread that does not exist there.
        """
        self.requested = True
        if self.is_forked:
            return
        with self._lock:
            if self._wake is not None:
                self._wake()
            if self._socket is not None:
                shut_down(self._socket)  # if it is not connected yet, the owner checks the flag

    def guard(self, sock: socket.socket) -> None:
        """Make `request` act on this socket; called by its owner."""
        with self._lock:
            self._socket = sock

    def close(self, sock: socket.socket) -> None:
        """Close a socket; called by its owner."""
        with self._lock:
            self._socket = None
            sock.close()

    def release(self) -> None:
        """Stop guarding the socket, which gets another owner."""
        with self._lock:
            self._socket = None

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Make `request` call `wake`, which ends the owner's wait in the block. If the flag is set, call it now."""
        with self._lock:
            self._wake = wake
            if self.requested:
                wake()
        try:
            yield
        finally:
            with self._lock:
                self._wake = None
