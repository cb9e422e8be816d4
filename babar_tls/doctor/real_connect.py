"""The real connect, with the unchanged configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from ..errors import Error
from ..net.blocking import BlockingConnection
from ..net.deadline import Meter
from ..net.establish import establish
from ..net.password import fetch_password

if TYPE_CHECKING:
    from ..config import Config
    from ..config.host import Host
    from ..net.establish import Ready
    from ..protocol.requests import Exchange

_T = TypeVar("_T")


@dataclass
class RealConnect:
    """The result of a connect.

    Attributes:
        last: The host with which the connect ended: it logged in, or its error ended the search.
        failures: The last error of each host that was tried.
        ready: The session, until the stage of its host takes it; `None` if the connect failed.
    """

    last: Host
    failures: dict[Host, Error] = field(default_factory=dict)
    ready: Ready | None = None


def connect(config: Config, timeout: float) -> RealConnect:
    """Connect as `Session.connect` does, to the hosts in turn, and record the error of each.

    Args:
        config: The configuration.
        timeout: The limit for each host in seconds, if the configuration has none.
    """
    if config.connect_timeout is None:
        config = config.replace(connect_timeout=timeout)
    result = RealConnect(config.targets[0])

    class Recorded(BlockingConnection):
        def drive(self, exchange: Exchange[_T]) -> _T:
            result.last = self.config.targets[0]
            try:
                return super().drive(exchange)
            except Error as error:
                result.failures[result.last] = error
                raise

    meter = Meter(config.connect_timeout)
    try:
        result.ready = establish(config, meter, Recorded, fetched=fetch_password(config, meter))
    except Error as error:
        result.failures.setdefault(result.last, error)  # the callable in password fails before a host is tried
    return result
