"""The clock of one connect: its deadline, the duration of each phase, and the number of round trips."""

from __future__ import annotations

import errno
import time

from ..errors import TimeoutError
from ..protocol.requests import Phase

_LONGEST_TIMEOUT = 1_000_000.0  # seconds; the operating system counts milliseconds in an int
_LEAST_SECONDS_FOR_AN_ADDRESS = 1.0

_WAITING_FOR = {
    Phase.PASSWORD: "waiting for the callable in password",
    Phase.RESOLVE: "looking up the host name",
    Phase.TCP: "opening the connection",
    Phase.NEGOTIATE: "waiting for the answer to SSLRequest",
    Phase.TLS: "in the TLS handshake",
    Phase.AUTH: "authenticating",
    Phase.READY: "waiting for the session to be ready",
    Phase.QUERY: "waiting for the server",
}

_SLOW = "The server or the network is slow, or filters packets. Raise connect_timeout if it is only slow."
_NO_ANSWER = (
    "There was no response to SSLRequest. This may be the port of another service than PostgreSQL: an HTTP server, for "
    "example, waits for more bytes. Otherwise the server or the network is slow, or filters packets."
)

_SLOW_CALLABLE = "No server was tried. The callable is slow, or blocks. Raise connect_timeout if it is only slow."
_REMEDIES = {Phase.NEGOTIATE: _NO_ANSWER, Phase.PASSWORD: _SLOW_CALLABLE}

_NO_TIMINGS = {phase.value: 0.0 for phase in Phase if phase not in (Phase.PASSWORD, Phase.QUERY)}


class Meter:
    """Measure one connect and enforce its deadline.

    All time since the last mark is added to the phase that is marked, so that the phases add up to the total. A round
    trip is counted when bytes arrive for the first time after some were sent. The driver sets `awaiting` when it sends.
    """

    def __init__(self, timeout: float | None) -> None:
        self._last = time.perf_counter()
        self.restart(timeout)
        self.timings = _NO_TIMINGS.copy()
        self.round_trips = 0

    def restart(self, timeout: float | None) -> None:
        """Set a new deadline for the next host. Timings and round trips are not reset."""
        self.deadline = None if timeout is None else time.monotonic() + min(timeout, _LONGEST_TIMEOUT)
        self.awaiting = False

    def mark(self, phase: Phase) -> None:
        """Add the time since the last mark to `phase`."""
        now = time.perf_counter()
        name = phase._value_  # `value` is slower, and this method is called at every step
        if name in self.timings:
            self.timings[name] += now - self._last
        self._last = now

    def received(self) -> None:
        """Record that bytes were received."""
        self.round_trips += self.awaiting
        self.awaiting = False

    def remaining(self, phase: Phase) -> float | None:
        """Return the seconds that are left, `None` for no limit.

        Raises:
            TimeoutError: The deadline has passed.
        """
        if self.deadline is None:
            return None
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise timeout_error(phase)
        return seconds

    def share(self, addresses_left: int) -> float | None:
        """Return the seconds for the next of several addresses.

        An address that drops packets must leave time for the others.

        Raises:
            TimeoutError: The deadline has passed.
        """
        seconds = self.remaining(Phase.TCP)
        if seconds is None or addresses_left <= 1:
            return seconds
        return min(seconds, max(seconds / addresses_left, _LEAST_SECONDS_FOR_AN_ADDRESS))


def timeout_error(phase: Phase) -> TimeoutError:
    """Return the error for a deadline that passed in `phase`."""
    return TimeoutError(
        f"timeout expired ({_WAITING_FOR[phase]})",
        remedy=_REMEDIES.get(phase, _SLOW),
        errno=errno.ETIMEDOUT,
    )
