"""Which server to try next: several hosts, one after the other, until one will do.

`search(config)` is a generator. It yields a `Place` to connect to; whoever connects throws the error into it when that
fails, and is given the next place, or the error back when there is none or when trying another host would be wrong: a
server that is there and says no, above all to a password, has answered.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..config import LoadBalanceHosts, TargetSessionAttrs
from ..errors import Error, ServerError, TargetSessionError, TimeoutError, Unreachable, after
from .server_errors import CANNOT_CONNECT_NOW

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..config import Config

_T = TypeVar("_T")
_random = random.SystemRandom()


class Place(NamedTuple):
    """One host's configuration, and what its session must be like."""

    config: Config
    wanted: TargetSessionAttrs


def search(config: Config) -> Generator[Place, None, None]:
    """Each place to try, in order; a failed attempt is thrown in.

    Raises:
        Error: That of the last attempt, with the others in `Error.earlier`.
    """
    hosts = list(config.targets)
    if config.load_balance_hosts is LoadBalanceHosts.RANDOM:
        _random.shuffle(hosts)
    places = [Place(config.at(host), wanted) for wanted in _passes(config.target_session_attrs) for host in hosts]
    failures: list[Error] = []
    for place in places:
        try:
            yield place
        except Error as error:
            if place is places[-1] or not _another_host_may_do(error):
                after(error, failures)
                raise
            failures.append(error)


def shuffled(config: Config, addresses: list[_T]) -> list[_T]:
    """A name's addresses in the order in which to try them."""
    if config.load_balance_hosts is LoadBalanceHosts.RANDOM:
        return _random.sample(addresses, len(addresses))
    return addresses


def _passes(wanted: TargetSessionAttrs) -> tuple[TargetSessionAttrs, ...]:
    if wanted is TargetSessionAttrs.PREFER_STANDBY:
        return TargetSessionAttrs.STANDBY, TargetSessionAttrs.ANY
    return (wanted,)


def _another_host_may_do(error: Error) -> bool:
    if isinstance(error, ServerError):
        return error.code == CANNOT_CONNECT_NOW
    return isinstance(error, Unreachable | TimeoutError | TargetSessionError)
