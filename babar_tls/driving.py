"""What both drivers need to run a handshake: a meter, a key cache, the password, the engine, the report."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from .backends import get_backend
from .config import TlsMode
from .crypto import derive_within
from .errors import Error, InvalidPassword, TimeoutError
from .protocol.negotiation import server_name
from .protocol.requests import Derive, Phase, ScramKeys
from .security import SecurityReport, security_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from .backends.base import TlsBackend
    from .config import Config
    from .protocol.handshake import Established

RECEIVE_SIZE = 1 << 16
_CACHED_KEYS = 256
_LONGEST_WAIT = 1_000_000.0  # seconds
_LEAST_SECONDS_FOR_AN_ADDRESS = 1.0

_WAITING_FOR = {
    Phase.RESOLVE: "looking up the host name",
    Phase.TCP: "opening the connection",
    Phase.NEGOTIATE: "waiting for the answer to SSLRequest",
    Phase.TLS: "in the TLS handshake",
    Phase.AUTH: "authenticating",
    Phase.READY: "waiting for the server to get ready",
    Phase.QUERY: "waiting for the server",
}


_NO_TIMINGS = {phase.value: 0.0 for phase in Phase if phase is not Phase.QUERY}


class Meter:
    """One connect's clock and counter.

    All time since the last mark belongs to the phase that is being marked, so that the phases add up to the whole.
    A round trip is a wait for the network: it is counted when bytes arrive for the first time after some were sent;
    until they do, the meter is `awaiting` them.
    """

    def __init__(self, timeout: float | None) -> None:
        self._last = time.perf_counter()
        self.restart(timeout)
        self.timings = _NO_TIMINGS.copy()
        self.round_trips = 0

    def restart(self, timeout: float | None) -> None:
        """Begin another host, with `timeout` seconds of its own; times and round trips add up."""
        # The operating system counts milliseconds in an int.
        self.deadline = None if timeout is None else time.monotonic() + min(timeout, _LONGEST_WAIT)
        self.awaiting = False

    def mark(self, phase: Phase) -> None:
        """Give the time since the last mark to `phase`."""
        now = time.perf_counter()
        name = phase._value_  # `value` is a function of Python's, and this is called at every step
        if name in self.timings:
            self.timings[name] += now - self._last
        self._last = now

    def sent(self) -> None:
        """Bytes have left."""
        self.awaiting = True

    def received(self) -> None:
        """Bytes have come."""
        self.round_trips += self.awaiting
        self.awaiting = False

    def remaining(self, phase: Phase) -> float | None:
        """Seconds left, `None` for no limit.

        Raises:
            TimeoutError: None are left.
        """
        if self.deadline is None:
            return None
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise timeout_error(phase)
        return seconds

    def share(self, addresses_left: int) -> float | None:
        """Seconds for the next of several addresses: one that swallows packets must leave time for the others."""
        seconds = self.remaining(Phase.TCP)
        if seconds is None or addresses_left <= 1:
            return seconds
        return min(seconds, max(seconds / addresses_left, _LEAST_SECONDS_FOR_AN_ADDRESS))


class KeyCache:
    """SCRAM keys by what they were derived from: bounded, in memory, for this process alone.

    The password itself is not kept: a digest of it, keyed by a secret that dies with the process, is.
    """

    def __init__(self, capacity: int = _CACHED_KEYS) -> None:
        self._capacity = capacity
        self._secret = os.urandom(32)
        self._lock = threading.Lock()
        self._keys: OrderedDict[tuple[bytes, bytes, int], ScramKeys] = OrderedDict()

    def get(self, request: Derive) -> ScramKeys | None:
        """The keys, if they were derived before."""
        index = self._index(request)
        with self._lock:
            keys = self._keys.get(index)
            if keys is not None:
                self._keys.move_to_end(index)
            return keys

    def put(self, request: Derive, keys: ScramKeys) -> None:
        """Remember the keys; the least recently used make room."""
        with self._lock:
            self._keys[self._index(request)] = keys
            while len(self._keys) > self._capacity:
                self._keys.popitem(last=False)

    def renew_lock(self) -> None:
        """After a fork."""
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._keys.clear()

    def _index(self, request: Derive) -> tuple[bytes, bytes, int]:
        digest = hashlib.blake2b(request.password, key=self._secret, digest_size=32).digest()
        return digest, request.salt, request.iterations


key_cache = KeyCache()
if hasattr(os, "register_at_fork"):
    # Another thread may hold the lock at that moment, and in the child it would hold it for ever.
    os.register_at_fork(after_in_child=key_cache.renew_lock)


def derive(
    request: Derive, config: Config, meter: Meter, cancelled: Callable[[], bool] | None = None
) -> ScramKeys | None:
    """Answer a `Derive` without the cache; releases the GIL. `None` if it was cancelled.

    Raises:
        TimeoutError: It would outlast the deadline.
    """
    seconds = meter.remaining(Phase.AUTH)
    keys = derive_within(request.password, request.salt, request.iterations, seconds, cancelled)
    if keys is not None and config.scram_key_cache:
        key_cache.put(request, keys)
    return keys


def cached_keys(request: Derive, config: Config) -> ScramKeys | None:
    """Answer a `Derive` from the cache, if the configuration allows and it can."""
    return key_cache.get(request) if config.scram_key_cache else None


def with_password(config: Config) -> Config:
    """The configuration with the password that its password file has for it, if it needs one and that has one."""
    if config.passfile is None or config.password is not None or config.scram_client_key is not None:
        return config
    from .passfile import password_for  # noqa: PLC0415 - few have one, and connecting should not wait for its import

    password = password_for(config)
    return config if password is None else config.replace(password=password)


def blame_passfile(error: Error, config: Config) -> None:
    """Say of a password that was refused that it came from `config`'s password file."""
    if isinstance(error, InvalidPassword):
        error.remedy = f'password retrieved from file "{config.passfile}"\n{error.remedy}'


def timeout_error(phase: Phase) -> TimeoutError:
    """The error for a deadline that has passed."""
    return TimeoutError(
        f"timeout expired ({_WAITING_FOR[phase]})",
        remedy="The server or the network is slow or filters packets; raise connect_timeout if it is only slow.",
        errno=errno.ETIMEDOUT,
    )


def wanted_backend(config: Config) -> TlsBackend | None:
    """The engine that this connect may need, found before anything is connected.

    Raises:
        BackendUnavailable: It is unknown or not installed.
    """
    plain = config.tls_mode is TlsMode.DISABLE or config.is_unix_socket
    return None if plain else get_backend(config.tls_backend)


def report(config: Config, established: Established, backend: TlsBackend | None, meter: Meter) -> SecurityReport:
    """The finished connect's report."""
    backend = backend if established.facts is not None else None
    return security_report(
        established,
        backend=backend.name if backend is not None else None,
        backend_version=backend.capabilities().version if backend is not None else None,
        server_name=server_name(config) if backend is not None else None,
        round_trips=meter.round_trips,
        timings=dict(meter.timings),
    )
