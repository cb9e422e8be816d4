"""What comes from the network, as both drivers take it in: lent buffers, whole batches of records, and time to gather.

A fast server writes a record of some kilobytes at a time. A client that is faster still is woken for each of them, and
what that costs, the system calls, the switches between two processes, the caches, is more than what TLS does. So where
an answer has become bulk and what came last was little, the driver waits for a moment before it looks again; the
system's buffers have room for what comes meanwhile, and the server goes on undisturbed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .errors import Error

if TYPE_CHECKING:
    from .backends.base import TlsStream

__all__ = ["GATHERING", "Flow", "borrow", "decrypt", "give_back"]

#: How long to gather, in seconds. An event loop's timers may round it up to a millisecond.
GATHERING = 0.0003
#: Bytes of one answer from which on it is bulk, and those of one read that are little.
_BULK = 1 << 18
_LITTLE = 1 << 16
# On Windows a moment may last for 16 milliseconds.
_GATHERS = os.name == "posix"

#: The most that one record holds (RFC 8446 §5.1). Engines hand out one at a time, and some make room for what they are
#: asked for.
_RECORD = 1 << 14

_BUFFER_SIZE = 1 << 18
_BUFFERS = 4
_free: list[memoryview] = []  # its methods are atomic, also where there is no GIL


def borrow() -> memoryview:
    """A buffer for one read; nobody else has it until it is given back.

    A connection needs one while it reads and at no other time, so that those which wait need not have one each.
    """
    try:
        return _free.pop()
    except IndexError:
        return memoryview(bytearray(_BUFFER_SIZE))


def give_back(buffer: memoryview) -> None:
    """A few are kept. One that does not come back, after an error for example, is simply garbage."""
    if len(_free) < _BUFFERS:
        _free.append(buffer)


def decrypt(stream: TlsStream, buffer: memoryview) -> int:
    """Put as much plaintext into `buffer` as there is, of any number of records; returns the number of bytes.

    What has gone wrong behind them is raised by the next call: first comes what came first.
    """
    count = 0
    try:
        while more := stream.read_into(buffer[count : count + _RECORD]):
            count += more
    except Error:
        if not count:
            raise
    return count


class Flow:
    """How an answer comes in."""

    def __init__(self) -> None:
        self._bytes = self._last = 0

    def restart(self) -> None:
        """Something was sent, to which another answer will come."""
        self._bytes = 0

    def received(self, count: int) -> None:
        """One read has brought so many bytes."""
        self._bytes += count
        self._last = count

    def is_thin(self) -> bool:
        """Is it bulk that comes in small portions?"""
        return _GATHERS and self._bytes > _BULK and self._last < _LITTLE
