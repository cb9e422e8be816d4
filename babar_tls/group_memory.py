"""Which key-exchange group to begin with, so that TLS 1.3 takes one round trip and not two.

A ClientHello has shares of the groups that the engine likes best. A server that accepts none of these asks for another
hello (HelloRetryRequest, RFC 8446 §4.1.4), which costs a round trip at each connect: PostgreSQL up to 17 does, for its
``ssl_ecdh_curve`` is P-256 alone. What a server asked for once is therefore what the next connection to it offers,
for a while. Before anything is known, an engine without post-quantum groups begins with P-256, which PostgreSQL of any
version takes.

No security is given up: a group is only ever remembered from a handshake that succeeded, so that nobody in between can
have chosen it, a post-quantum group is never kept back from a server that has not been seen to decline it, and where
an offer of one group fails, the connect is begun again with all of them.
"""

from __future__ import annotations

import dataclasses
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from .backends import offer_of
from .backends.groups import is_post_quantum

if TYPE_CHECKING:
    from collections.abc import Hashable

    from .backends.base import TlsBackend, TlsParameters, TlsStream
    from .errors import TlsError

__all__ = ["GroupMemory", "group_memory", "is_about_offer"]

_CAPACITY = 1024
_KEPT = 600.0  # seconds: the server may have learned a better group meanwhile
_FIRST_GUESS = "secp256r1"


def is_about_offer(error: TlsError, stream: TlsStream) -> bool:
    """Has the server found nothing acceptable in the offer (RFC 8446 §4.1.1)? Once a group is agreed on, it has."""
    return error.alert in ("handshake_failure", "insufficient_security") and stream.group is None


@lru_cache(maxsize=64)
def _with_group(parameters: TlsParameters, group: str) -> TlsParameters:
    return dataclasses.replace(parameters, groups=(group,))


@lru_cache(maxsize=32)
def _first_guess(backend: TlsBackend) -> str | None:
    offer = offer_of(backend)
    if offer is None or _FIRST_GUESS not in offer.groups or any(map(is_post_quantum, offer.groups)):
        return None
    return None if _FIRST_GUESS in offer.key_shares else _FIRST_GUESS


class GroupMemory:
    """What is known of servers, for this process."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[str | None, float]] = {}

    def parameters(self, backend: TlsBackend, server: Hashable, parameters: TlsParameters) -> TlsParameters:
        """The parameters, perhaps with one group to offer where the caller has named none."""
        if parameters.groups or backend.capabilities().selects_groups == "no":
            return parameters
        group, until = self._known.get((backend.name, server), (None, 0.0))
        if until < time.monotonic():
            group = _first_guess(backend)
        return _with_group(parameters, group) if group is not None else parameters

    def learn(self, backend: TlsBackend, server: Hashable, stream: TlsStream) -> None:
        """Remember what a server asked for, after a handshake that has succeeded."""
        if stream.hello_retried and stream.group is not None:
            self._remember(backend, server, stream.group)

    def give_up(self, backend: TlsBackend, server: Hashable) -> None:
        """One group was not enough: the next offer has all of them."""
        self._remember(backend, server, None)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()

    def _remember(self, backend: TlsBackend, server: Hashable, group: str | None) -> None:
        if len(self._known) >= _CAPACITY:
            self._known.clear()
        self._known[backend.name, server] = group, time.monotonic() + _KEPT


group_memory = GroupMemory()
