"""Receiving, as both drivers do it: shared buffers, and pauses that let data accumulate.

A fast server writes records of some kilobytes. A faster client is woken for each of them, and the system calls, the
switches between two processes and the cache misses cost more than TLS does. So when an answer has become bulk and the
last read brought little, the driver pauses before the next read. The system's buffers hold what arrives meanwhile.
"""

from __future__ import annotations

import os

#: The length of a pause in seconds; timers of event loops may round it up to a millisecond. In paired runs of COPY with
#: rows of 8000 bytes, pauses saved 25 to 43 % of the client's CPU with ssl, 28 % with rustls, 16 % with pyOpenSSL, and
#: did not lower the rate (docs/performance.md). Shorter pauses saved less, longer ones not more.
GATHERING = 0.0003
#: An answer of more bytes is bulk; a read of fewer bytes brought little.
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
    """How the current answer arrives."""

    def __init__(self) -> None:
        self._bytes = self._last = 0

    def restart(self) -> None:
        """Record that something was sent, to which another answer will come."""
        self._bytes = 0

    def received(self, count: int) -> None:
        """Record the number of bytes that one read returned."""
        self._bytes += count
        self._last = count

    def is_thin(self) -> bool:
        """Return True if the answer is bulk that arrives in small portions."""
        return _GATHERS and self._bytes > _BULK and self._last < _LITTLE
