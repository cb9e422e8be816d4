"""Faults in the bytes that a server sends, and their assignment to connections.

A connection is recognized by its address: servers listen on all addresses, each client connects to its own address in
127.0.0.0/8, and the accepted socket reports it. One server can serve thousands of connects, many of them at the
same time, and the client needs no changes.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Literal

from babar_tls.testing import PeerDisconnected

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

Action = Literal["close", "stall", "flip"]
ACTIONS: tuple[Action, ...] = ("close", "stall", "flip")

_FIRST_ADDRESS = int(IPv4Address("127.1.0.1"))


@dataclass(frozen=True)
class Fault:
    """A change to the bytes that a server sends.

    Attributes:
        action: ``close``: the bytes before `position` are sent, and the connection is closed. ``stall``: they are
            sent, and nothing follows. ``flip``: one bit of the byte at `position` is inverted.
        position: Counted from 0 over all that the server sends.
        bit: The bit to invert; 0 is the least significant one.
    """

    action: Action
    position: int
    bit: int = 0

    def __str__(self) -> str:
        return f"{self.action} at byte {self.position}" + (f", bit {self.bit}" if self.action == "flip" else "")


@dataclass(frozen=True)
class Span:
    """A piece of the server's stream: bytes `start` to `stop`, and what they are."""

    label: str
    start: int
    stop: int


@dataclass(frozen=True)
class Strike:
    """The piece of the stream that a fault changed, with its original and its changed bytes."""

    label: str
    before: bytes
    after: bytes


class Encounter:
    """An expected connection with its fault and the outcome.

    Attributes:
        address: The address to connect to.
        fault: The fault, `None` to send everything unchanged.
        spans: The pieces that were sent.
        strike: The piece that the fault changed, `None` if the stream ended before.
        cut: The fault has ended the stream.
    """

    def __init__(self, address: str, fault: Fault | None, on_strike: Callable[[], object]) -> None:
        self.address = address
        self.fault = fault
        self.spans: list[Span] = []
        self.strike: Strike | None = None
        self.cut = False
        self._on_strike = on_strike

    @property
    def sent(self) -> int:
        """The number of bytes that the server has sent, or would have sent without the fault."""
        return self.spans[-1].stop if self.spans else 0

    def apply(self, pieces: Iterable[tuple[str, bytes]]) -> bytes:
        """Return the bytes to send for these labelled pieces; if `cut` is True afterwards, nothing may follow."""
        result = bytearray()
        for label, data in pieces:
            if self.cut:
                break
            span = Span(label, self.sent, self.sent + len(data))
            self.spans.append(span)
            struck = self.fault is not None and span.start <= self.fault.position < span.stop
            result += self._strike(label, data, span.start) if struck else data
        return bytes(result)

    def _strike(self, label: str, data: bytes, start: int) -> bytes:
        fault = self.fault
        assert fault is not None
        offset = fault.position - start
        if fault.action == "flip":
            after = data[:offset] + bytes([data[offset] ^ 1 << fault.bit]) + data[offset + 1 :]
        else:
            after = data[:offset]
            self.cut = True
        self.strike = Strike(label, data, after)
        self._on_strike()
        return after


class Faults:
    """All encounters of one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(_FIRST_ADDRESS)
        self._encounters: dict[str, Encounter] = {}

    def expect(self, fault: Fault | None, on_strike: Callable[[], object] = lambda: None) -> Encounter:
        """Prepare for one connection; a server thread calls `on_strike`."""
        with self._lock:
            encounter = Encounter(str(IPv4Address(next(self._numbers))), fault, on_strike)
            self._encounters[encounter.address] = encounter
            return encounter

    def of(self, accepted: socket.socket) -> Encounter:
        """Return the encounter of an accepted connection.

        Raises:
            PeerDisconnected: The encounter was removed, because its client disconnected before the server accepted it.
        """
        with self._lock:
            encounter = self._encounters.get(accepted.getsockname()[0])
        if encounter is None:
            raise PeerDisconnected("the connection is not expected any more")
        return encounter

    def clear(self) -> None:
        """Remove all encounters."""
        with self._lock:
            self._encounters.clear()
