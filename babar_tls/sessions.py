"""What the blocking and the asyncio session have in common."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .config import Config
from .errors import Busy, Closed, ConfigError, ServerError
from .protocol.negotiation import endpoint
from .protocol.requests import Endpoint, Request

if TYPE_CHECKING:
    import weakref
    from collections.abc import Generator, Iterator, Mapping

    from .host import Host
    from .protocol.handshake import Established
    from .security import SecurityReport


class ReadySession:
    """What is known of a session, whichever way it is used."""

    def __init__(
        self, config: Config, place: Config, established: Established, address: str | None, security: SecurityReport
    ) -> None:
        self._config = config
        self._place = place
        self._reader = established.reader
        self._params = established.parameters
        self._process = established.process_id, established.secret_key
        self._where = reached(place, address)
        self._security = security
        self._closed = False

    @property
    def config(self) -> Config:
        """What the session was made from."""
        return self._config

    @property
    def host(self) -> Host:
        """The server that the session is with: the one of `config.targets` that would do."""
        return self._place.targets[0]

    @property
    def params(self) -> Mapping[str, str]:
        """The server's parameters (``server_version``, …), kept up to date as queries run."""
        return MappingProxyType(self._params)

    @property
    def security(self) -> SecurityReport:
        """What was negotiated and proven."""
        return self._security

    @property
    def backend_pid(self) -> int:
        """The server process that serves this session."""
        return self._process[0]

    @property
    def closed(self) -> bool:
        """The session was closed, or broke."""
        return self._closed


class Copy:
    """A copy in progress: the exchange, and who is reading it.

    A reader that stops half-way does not say so. When the iterator that it was given is gone and the copy is not at
    its end, it was dropped, and the session finishes the copy before it does anything else.
    """

    def __init__(self, exchange: Generator[Request | list[bytes], Any, None]) -> None:
        self._exchange = exchange
        self._batch: list[bytes] = []
        self.items: Iterator[bytes] = iter(())  # what has come, and was not yet handed out
        self.begun = False
        self.ended = False
        self.owner: weakref.ref[object] | None = None

    def forget(self) -> None:
        """Nothing is handed out any more, not even what has come: the session is closed."""
        self._batch.clear()

    def _keep(self, batch: list[bytes]) -> None:
        self._batch = batch
        self.items = iter(batch)

    def is_read(self) -> bool:
        """Somebody still holds the iterator."""
        return self.owner is not None and self.owner() is not None


def as_config(target: str | Config, overrides: Mapping[str, Any]) -> Config:
    """The configuration that a `connect` was given."""
    if isinstance(target, Config):
        return target.replace(**overrides) if overrides else target
    return Config.from_conninfo(target, **overrides)


def reached(config: Config, address: str | None) -> Endpoint:
    """The endpoint of the server that answered, where its name has several addresses."""
    where = endpoint(config)
    return where if address is None else Endpoint(where.host, where.port, address)


def check_cancellable(process: tuple[int, bytes]) -> None:
    """Did the server give us what a cancel request needs?

    Raises:
        ConfigError: It did not; some poolers do not.
    """
    if not process[1]:
        raise ConfigError("the server gave no key to cancel with", remedy="A pooler in between may not support it.")


def survives(error: BaseException | None) -> bool:
    """Is the conversation with the server in order after this error?"""
    if isinstance(error, ServerError):
        return error.severity not in ("FATAL", "PANIC")
    return error is None or isinstance(error, Busy | ConfigError | StopIteration | StopAsyncIteration)


def busy() -> Busy:
    """The error for a second operation while one is under way."""
    return Busy(
        "the session is busy with another query or an unfinished copy_to",
        remedy="Wait for the query, or read the copy to its end or drop its iterator; one session does one thing.",
    )


def closed() -> Closed:
    """The error for using a session that is closed."""
    return Closed("the session is closed", remedy="Connect anew.")
