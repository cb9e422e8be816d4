"""`AsyncSession`: a ready connection, for asyncio."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from .aio_wire import AsyncWire
from .driving import Meter, blame_passfile, report, with_password
from .errors import Error, ServerError
from .protocol.handshake import Established, cancel, handshake
from .protocol.hosts import search
from .protocol.messages import TERMINATE
from .protocol.query import Row, copy_out, simple_query
from .sessions import Copy, ReadySession, as_config, busy, check_cancellable, closed, survives

if TYPE_CHECKING:
    from types import TracebackType

    from .config import Config
    from .protocol.requests import Exchange
    from .security import SecurityReport

__all__ = ["AsyncSession", "connect_async"]


async def connect_async(target: str | Config = "", /, **overrides: Any) -> AsyncSession:
    """Connect from asyncio: the short form of `AsyncSession.connect`.

    Args:
        target: A `Config`, or a libpq URI or keyword string.
        **overrides: Fields of `Config` that replace what `target` says.

    Raises:
        Error: See `AsyncSession.connect`.
    """
    return await AsyncSession.connect(as_config(target, overrides))


class AsyncSession(ReadySession):
    """A ready session: secured, authenticated, waiting for a query. Make one with `AsyncSession.connect`.

    One task at a time may use it; `cancel` is for another. A failure that leaves the conversation in doubt closes it,
    and so does cancelling a task that is inside a query.
    """

    def __init__(self, config: Config, wire: AsyncWire, established: Established, security: SecurityReport) -> None:
        super().__init__(config, wire.config, established, wire.address, security)
        self._wire = wire
        self._running = False
        self._copy: _Copy | None = None
        wire.settle()

    @classmethod
    async def connect(cls, config: Config) -> AsyncSession:
        """Connect, negotiate, verify, authenticate. Cancelling it leaves nothing behind.

        Raises:
            ConfigError: A file that `config` names cannot be used.
            BackendUnavailable: The TLS engine is not installed.
            IoError: The server cannot be reached; `TimeoutError`, `TlsError`, `CertificateError` are kinds of it.
            TargetSessionError: No host has such sessions as were asked for.
            AuthError: Authentication failed, or policy forbade what the server asked for.
            ServerError: The server refused: no such database, too many connections.
            ProtocolError: The other end is no PostgreSQL, or an attacker.
        """
        meter = Meter(config.connect_timeout)
        places = search(config)
        place = next(places)
        while True:
            wire = AsyncWire(with_password(place.config), meter)
            try:
                return cls(config, wire, *await wire.drive(_reported(wire, handshake(wire.config, place.wanted))))
            except Error as error:
                wire.close()
                if wire.config is not place.config:
                    blame_passfile(error, wire.config)
                place = places.throw(error)
                meter.restart(config.connect_timeout)
            except BaseException:
                wire.close()
                raise

    async def query(self, sql: str) -> list[Row]:
        """Run SQL by the simple protocol; values are text, `None` is NULL.

        Returns:
            The rows of the last statement that has any.

        Raises:
            ServerError: The server reported an error; the session goes on unless it was FATAL.
            ConfigError: The text contains a zero byte.
            Closed: The session is closed.
            IoError: The connection broke; the session is closed now.
        """
        async with _Turn(self):
            await self._reclaim()
            return await self._wire.drive(simple_query(sql, self._reader, self._params))

    def copy_to(self, sql: str) -> AsyncIterator[bytes]:
        """Run a ``COPY … TO STDOUT``; yields each CopyData message as the server framed it.

        Breaking off is allowed: the copy is cancelled when the session is used next.

        Raises:
            ServerError: The server reported an error.
            ConfigError: The statement was no ``COPY … TO STDOUT``.
            Closed: The session is closed.
            IoError: The connection broke; the session is closed now.
        """
        return _CopyIterator(self, _Copy(copy_out(sql, self._reader, self._params)))

    async def cancel(self) -> None:
        """Ask the server to cancel what the session is running, on a connection of its own, over TLS if this one is.

        Whether it was in time shows in the query, which then fails with SQLSTATE 57014.

        Raises:
            Error: The request could not be delivered.
        """
        wire = AsyncWire(self._place, Meter(self._place.connect_timeout))
        check_cancellable(self._process)
        try:
            await wire.drive(cancel(self._place, self._where, *self._process, tls=self._security.tls))
        finally:
            wire.close()

    async def close(self) -> None:
        """Say goodbye and close; closing twice is allowed, and nothing is raised."""
        self._closed = True
        self._forget_copy()
        self._wire.close(TERMINATE)

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _more(self, copy: _Copy) -> None:
        """Get `copy` some more items; `StopAsyncIteration` at its end."""
        if copy.ended:
            raise StopAsyncIteration
        async with _Turn(self):
            if self._copy is not copy:
                if copy.begun:
                    raise StopAsyncIteration
                await self._reclaim()
                self._copy = copy
            try:
                await copy.step(self._wire)
            except BaseException:
                self._copy = None
                raise

    async def _reclaim(self) -> None:
        """Make the session ready for the next query, whatever became of the last copy."""
        copy = self._copy
        if copy is None:
            return
        if copy.is_read():
            raise busy()
        self._copy = None
        try:
            await self.cancel()
            await copy.drain(self._wire)
        except BaseException:
            self._abort()  # the copy is still coming, and nobody can tell where it ends
            raise

    def _abort(self) -> None:
        self._closed = True
        self._forget_copy()
        self._wire.close()

    def _forget_copy(self) -> None:
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.forget()


def _reported(wire: AsyncWire, exchange: Exchange[Established]) -> Exchange[tuple[Established, SecurityReport]]:
    """The exchange and the report of it, which is made where that runs."""
    established = yield from exchange
    return established, report(wire.config, established, wire.backend, wire.meter)


class _Turn:
    """One operation at a time; closes the session when it leaves the conversation in doubt, cancelled or failed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def __aenter__(self) -> None:
        if self._session._closed:
            raise closed()
        if self._session._running:
            raise busy()
        self._session._running = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session._running = False
        if not survives(error):
            self._session._abort()


class _Copy(Copy):
    async def step(self, wire: AsyncWire) -> None:
        """Go on until there are items."""
        self.begun = True
        result: Any = None
        try:
            while True:
                item = self._exchange.send(result)
                if isinstance(item, list):
                    self._keep(item)
                    return
                try:
                    result = await wire.perform(item)
                except Error as error:
                    self._exchange.throw(error)
        except StopIteration:
            self.ended = True
            raise StopAsyncIteration from None
        except Error as error:
            wire.name(error)
            raise

    async def drain(self, wire: AsyncWire) -> None:
        try:
            while True:
                await self.step(wire)
        except StopAsyncIteration:
            pass
        except ServerError as error:
            if not survives(error):
                raise


class _CopyIterator(AsyncIterator[bytes]):
    def __init__(self, session: AsyncSession, copy: _Copy) -> None:
        self._session = session
        self._copy = copy
        copy.owner = weakref.ref(self)

    async def __anext__(self) -> bytes:
        copy = self._copy
        while True:
            for item in copy.items:  # an item at a time costs this and no more; turns are taken for what comes at once
                return item
            await self._session._more(copy)
