"""Receive buffers that all connections share, and pauses that let data accumulate.

A fast server writes records of some kilobytes. A faster client wakes up for each of them. The system calls, context
switches and cache misses then cost more than TLS. So if a response is bulk data and the last read returned little, the
driver pauses before the next read. The data that arrives meanwhile is in the buffers of the operating system.
"""

from __future__ import annotations

import os

#: The length of a pause in seconds; timers of event loops may round it up to a millisecond. In paired runs of COPY with
#: rows of 8000 bytes, pauses saved 25 to 43 % of the client's CPU with ssl, 28 % with rustls, 16 % with pyOpenSSL, and
#: did not lower the rate (docs/performance.md). Shorter pauses saved less, longer ones not more.
GATHERING = 0.0003
#: A response of more than `_BULK` bytes is bulk data. A read of fewer than `_LITTLE` bytes returned little.
_BULK = 1 << 18
_LITTLE = 1 << 16
# On Windows a pause may last for 16 milliseconds.
_GATHERS = os.name == "posix"

_BUFFER_SIZE = 1 << 18
_BUFFERS = 4
_free: list[memoryview] = []  # its methods are atomic, also where there is no GIL


def borrow() -> memoryview:
    """Return a buffer for one read, for exclusive use until it is given back.

    A connection needs a buffer only while it reads, so that waiting connections do not hold one each.
    """
    try:
        return _free.pop()
    except IndexError:
        return memoryview(bytearray(_BUFFER_SIZE))


def give_back(buffer: memoryview) -> None:
    """Keep a few buffers for reuse. One that is not given back, for example after an error, is garbage-collected."""
    if len(_free) < _BUFFERS:
        _free.append(buffer)


class Flow:
    """The sizes of the current response and of the last read."""

    def __init__(self) -> None:
        self._bytes = self._last = 0

    def restart(self) -> None:
        """Record that a request was sent. The next bytes are its response."""
        self._bytes = 0

    def received(self, count: int) -> None:
        """Record the number of bytes that one read returned."""
        self._bytes += count
        self._last = count

    def is_thin(self) -> bool:
        """Return True if the response is bulk data that arrives in small portions."""
        return _GATHERS and self._bytes > _BULK and self._last < _LITTLE
