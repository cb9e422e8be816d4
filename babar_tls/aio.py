"""`AsyncSession`: a session with operations for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Unpack

from ._observation import observe
from ._session_base import CopyIterator, SessionBase, as_config, busy, check_config, survives
from .diagnostics.tracebacks import clears_locals
from .errors import Error
from .net import connect_threads
from .net.asyncio import AsyncioConnection, deliver_cancel_async
from .net.deadline import Meter
from .net.establish import Ready, establish
from .net.password_async import fetch_password_async
from .protocol.messages import TERMINATE

if TYPE_CHECKING:
    from types import TracebackType

    from ._observation import Observation
    from .config import Config, ConfigOptions
    from .net.blocking import Connector
    from .net.secure_stream import SecureStream
    from .protocol.query import Row

__all__ = ["AsyncSession", "connect_async"]


@clears_locals
async def connect_async(target: str | Config = "", /, **overrides: Unpack[ConfigOptions]) -> AsyncSession:
    """Connect to a server and return the session: the short form of `AsyncSession.connect`.

    Args:
        target: A `Config`, or a libpq URI or keyword string.
        **overrides: Fields of `Config` that replace those of `target`.

    Raises:
        Error: See `AsyncSession.connect`.
    """
    return await AsyncSession.connect(as_config(target, overrides))


class AsyncSession(SessionBase):
    """An open session: secured, authenticated and ready for queries. Create one with `AsyncSession.connect`.

    It belongs to the event loop on which it was opened, and one task at a time may use it; other tasks may call
    `cancel` and `close`. A failure that leaves the state of the conversation in doubt closes the session. So does the
    cancellation of a task during an operation.
    """

    _connection: AsyncioConnection

    def __init__(self, config: Config, ready: Ready) -> None:
        self._connection = AsyncioConnection(*ready.connection.hand_over(), ready.connection.description)
        self._running = False
        super().__init__(config, ready)

    @classmethod
    @clears_locals
    async def connect(cls, config: Config) -> AsyncSession:
        """Connect, negotiate TLS, verify the server and authenticate, in a separate thread.

        Cancellation ends the attempt and closes its socket. `Config.connect_timeout` limits the time for each host.
        Only the resolution of a host name has no limit if no thread can be started for it. The callable in
        `Config.password` is called first, in a separate thread; an awaitable that it returns is awaited here.

        Raises:
            ConfigError: A file that `config` names cannot be used, or the callable did not return a password.
            BackendUnavailable: The TLS library is not installed.
            IoError: The server cannot be reached; subclasses are `TimeoutError`, `TlsError` and `CertificateError`.
            TargetSessionError: No host provides the session that `target_session_attrs` requires.
            AuthError: Authentication failed, or policy forbids the method that the server requested.
            ServerError: The server refused the connection: no such database, too many connections.
            ProtocolError: The peer is not a PostgreSQL server, or an attacker changed its messages.
            TypeError: `config` is not a `Config`.
        """
        check_config(config)
        observation = observe(config)
        if observation is None:
            return await cls._open(config, Meter(config.connect_timeout), None)
        del config  # callbacks get an error whose traceback refers to this frame
        with observation:
            return observation.opened(await cls._open(observation.config, observation.meter, observation))

    @classmethod
    async def _open(cls, config: Config, meter: Meter, observation: Observation | None) -> AsyncSession:
        fetched = await fetch_password_async(config, meter)

        def job(connect: Connector) -> Ready:
            if observation is not None:
                connect = observation.connector(connect)
            return establish(config, meter, connect, fetched=fetched)

        return cls(config, await connect_threads.run(job, meter, _discard))

    async def query(self, sql: str) -> list[Row]:
        """Run SQL with the simple query protocol. Values are text; NULL is `None`.

        Returns:
            The rows of the last statement that returns any.

        Raises:
            ServerError: The server reported an error; the session stays usable unless the error is FATAL or PANIC.
            ConfigError: The text contains a NUL, or a statement is a ``COPY … TO STDOUT``.
            Closed: The session is closed, or was closed by another task.
            IoError: The connection failed; the session is closed.
            Error: The session belongs to another event loop, or was opened before a fork.
        """
        async with _Turn(self):
            return await self._connection.drive(self._query(sql))

    def copy_to(self, sql: str) -> AsyncIterator[bytes]:
        """Run a ``COPY … TO STDOUT``; yield the content of each CopyData message.

        The iterator may be dropped at any time. The next operation of the session then cancels the copy.

        Raises:
            ServerError: The server reported an error.
            ConfigError: The statement was not a ``COPY … TO STDOUT``.
            Closed: The session is closed, or was closed by another task.
            IoError: The connection failed; the session is closed.
            Error: The session belongs to another event loop, or was opened before a fork.
        """
        return _CopyIterator(self, sql)

    @clears_locals
    async def cancel(self) -> None:
        """Send a cancel request for the running query on a separate connection, over TLS if this session uses TLS.

        If it arrives in time, the query fails with SQLSTATE 57014.

        Raises:
            Error: The request could not be delivered.
        """
        await deliver_cancel_async(self._cancel_request())

    def detach(self) -> SecureStream:
        """End the session and return its connection, for the use of another driver.

        Afterwards the session only supports `cancel`, and the caller closes the connection.

        Raises:
            Busy: An operation or a copy is unfinished.
            Closed: The session is closed.
            Error: The session belongs to another event loop, or was opened before a fork.
        """
        self._check_turn()
        return self._release()

    async def close(self) -> None:
        """End the session and close the connection. It may be called again, and raises no error.

        An operation that runs in another task raises `Closed`.
        """
        self._closed = True
        if self._interruption.is_forked:
            self._connection.close_copy()
        else:
            self._finish(TERMINATE)

    def _check_turn(self) -> None:
        """Refuse an operation if the session cannot be used, here or now."""
        self._check_usable()
        if asyncio.get_running_loop() is not self._connection.loop:
            raise Error(
                "the session was opened on another event loop",
                remedy="Open a session on each event loop, or run the operation on the session's own loop.",
            )
        if self._running:
            raise busy()

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def _discard(ready: Ready) -> None:
    """Close a connection whose task was cancelled before it received the session."""
    ready.connection.close(TERMINATE)


class _Turn:
    """Run one operation at a time; close the session after a failure that leaves the conversation in doubt."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def __aenter__(self) -> None:
        self._session._check_turn()
        self._session._running = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session._running = False
        if not survives(error):
            self._session._finish()


class _CopyIterator(CopyIterator, AsyncIterator[bytes]):
    _session: AsyncSession

    async def __anext__(self) -> bytes:
        session, copy = self._session, self._copy
        while True:
            for item in copy.items:  # fast path: only the next batch needs a turn
                return item
            if copy.ended:
                raise StopAsyncIteration
            async with _Turn(session):
                if not await session._connection.drive(session._more(copy), goes_on=True):
                    raise StopAsyncIteration
