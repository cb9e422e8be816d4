"""Cache the key-exchange group that a server selected, so that its next TLS 1.3 handshake takes one round trip.

A ClientHello contains key shares of the groups that the TLS library prefers. A server that accepts none of them sends
HelloRetryRequest (RFC 8446 §4.1.4), which costs a round trip at each connect. PostgreSQL up to 17 does this, because
its ``ssl_ecdh_curve`` is P-256. The next connect to such a server offers only the group that it selected (a *narrowed*
offer), for ten minutes. A backend without post-quantum groups offers P-256 to unknown servers, because PostgreSQL of
any version accepts it.

A narrowed offer must neither weaken a connection nor make it fail:

* A selected group is stored after the server was verified and the session is ready. It is used only by connects that
  verify the same server in the same way (`Server`). An unverified server, which may be a man in the middle, cannot
  remove post-quantum groups from later connects, nor remove cached groups of verified servers.
* After any failure of a narrowed offer the driver repeats the attempt once with all groups (`net.blocking`). The
  failure is cached separately. It may come from an unverified server, because it can only make later offers wider.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from time import time
from typing import TYPE_CHECKING, NamedTuple

from .algorithms import is_post_quantum
from .bounded_cache import BoundedCache
from .registry import offer_of

if TYPE_CHECKING:
    from .contract import TlsBackend
    from .parameters import TlsParameters


_CAPACITY = 1024
_LIFETIME = 600.0  # seconds, because an updated server may support a better group
_FIRST_GUESS = "secp256r1"


class Server(NamedTuple):
    """The key of the cache: a server and one configuration. Different configurations share no cached groups.

    Attributes:
        backend: The TLS library.
        address: Host, address and port of the connection.
        name: The name that is verified.
        parameters: The verification, the trusted roots, and the values to offer.
        pins: The accepted fingerprints of the certificate.
    """

    backend: TlsBackend
    address: str | None
    name: str
    parameters: TlsParameters
    pins: tuple[str, ...]


class KeyShareCache:
    """A cache of selected groups, and of failed narrowed offers, in this process."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._selected = BoundedCache[Server, str](capacity)
        self._refused = BoundedCache[Server, bool](capacity)

    def parameters(self, server: Server) -> TlsParameters:
        """Return the parameters for the first attempt: those of the server, or a copy that offers only one group."""
        parameters, backend = server.parameters, server.backend
        if parameters.groups or backend.capabilities.selects_groups == "no":
            return parameters
        group = self._selected.get(server)
        if group is None and not self._refused.get(server):
            group = _first_guess(backend)
        return parameters if group is None else _with_group(parameters, group)

    def learn(self, server: Server, group: str | None) -> None:
        """Store the group that a server selected with HelloRetryRequest.

        The caller has verified the certificate or a pin, and the proof that the server has the certificate's key.
        """
        if group is not None and not server.parameters.groups and _is_selectable(server.backend, group):
            self._selected.put(server, group, time() + _LIFETIME)

    def forget(self, server: Server) -> None:
        """Remove the cached group of a server after a narrowed offer failed, and offer all groups for ten minutes."""
        self._selected.remove(server)
        self._refused.put(server, value=True, until=time() + _LIFETIME)

    def clear(self) -> None:
        """Remove all entries."""
        self._selected.clear()
        self._refused.clear()


@lru_cache(maxsize=64)
def _with_group(parameters: TlsParameters, group: str) -> TlsParameters:
    return dataclasses.replace(parameters, groups=(group,))


@lru_cache(maxsize=256)
def _is_selectable(backend: TlsBackend, group: str) -> bool:
    """Return True if the backend, restricted to the group, offers it with a key share."""
    offer = offer_of(backend, group)
    return offer is not None and offer.groups == offer.key_shares == (group,)


@lru_cache(maxsize=32)
def _first_guess(backend: TlsBackend) -> str | None:
    offer = offer_of(backend)
    if offer is None or _FIRST_GUESS not in offer.groups or any(map(is_post_quantum, offer.groups)):
        return None
    if _FIRST_GUESS in offer.key_shares or not _is_selectable(backend, _FIRST_GUESS):
        return None
    return _FIRST_GUESS


key_share_cache = KeyShareCache()
