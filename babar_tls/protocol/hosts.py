"""Choose the next host to try, in the order that the configuration requires.

`search(config)` is a generator. It yields a `Candidate` to connect to. If the attempt fails, the caller throws the
error into the generator, which yields the next candidate. It raises the error if there is no other host, or if the
error ends the search. A refused login ends the search, for example.
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


class Candidate(NamedTuple):
    """The configuration for one host, and the required kind of session."""

    config: Config
    wanted: TargetSessionAttrs


def search(config: Config) -> Generator[Candidate, None, None]:
    """Yield each candidate, in order; the caller throws the error of a failed attempt into the generator.

    Raises:
        Error: The error of the last attempt, with the others in `Error.earlier`.
    """
    hosts = list(config.targets)
    if config.load_balance_hosts is LoadBalanceHosts.RANDOM:
        _random.shuffle(hosts)
    passes = [config.target_session_attrs]
    if passes == [TargetSessionAttrs.PREFER_STANDBY]:
        passes = [TargetSessionAttrs.STANDBY, TargetSessionAttrs.ANY]
    candidates = [Candidate(config.at(host), wanted) for wanted in passes for host in hosts]
    failures: list[Error] = []
    for candidate in candidates:
        try:
            yield candidate
        except Error as error:
            if candidate is candidates[-1] or not _allows_next_host(error):
                after(error, failures)
                raise
            failures.append(error)


def shuffled(config: Config, addresses: list[_T]) -> list[_T]:
    """Return the addresses of a name in the order in which to try them."""
    if config.load_balance_hosts is LoadBalanceHosts.RANDOM:
        return _random.sample(addresses, len(addresses))
    return addresses


def _allows_next_host(error: Error) -> bool:
    if isinstance(error, ServerError):
        return error.code == CANNOT_CONNECT_NOW
    return isinstance(error, Unreachable | TimeoutError | TargetSessionError)
