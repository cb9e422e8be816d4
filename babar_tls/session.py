"""`Session`: a ready connection, blocking."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from .driving import Meter, blame_passfile, report, with_password
from .errors import Error, ServerError
from .protocol.handshake import Established, cancel, handshake
from .protocol.hosts import search
from .protocol.messages import TERMINATE
from .protocol.query import Row, copy_out, simple_query
from .sessions import Copy, ReadySession, as_config, busy, check_cancellable, closed, survives
from .wire import Wire

if TYPE_CHECKING:
    from types import TracebackType

    from .config import Config

__all__ = ["Session", "connect"]

_T = TypeVar("_T")


def connect(target: str | Config = "", /, **overrides: Any) -> Session:
    """Connect, blocking: the short form of `Session.connect`.

    Args:
        target: A `Config`, or a libpq URI or keyword string.
        **overrides: Fields of `Config` that replace what `target` says.

    Raises:
        Error: See `Session.connect`.
    """
    return Session.connect(as_config(target, overrides))


class Session(ReadySession):
    """A ready session: secured, authenticated, waiting for a query. Make one with `Session.connect`.

    One thread at a time may use it; `cancel` is for another. A failure that leaves the conversation in doubt closes it.
    """

    def __init__(self, config: Config, wire: Wire, established: Established) -> None:
        security = report(wire.config, established, wire.backend, wire.meter)
        super().__init__(config, wire.config, established, wire.address, security)
        self._wire = wire
        self._lock = threading.Lock()
        self._copy: _Copy | None = None
        wire.settle()

    @classmethod
    def connect(cls, config: Config) -> Session:
        """Connect, negotiate, verify, authenticate.

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
            wire = Wire(with_password(place.config), meter)
            try:
                return cls(config, wire, wire.drive(handshake(wire.config, place.wanted)))
            except Error as error:
                wire.close()
                if wire.config is not place.config:
                    blame_passfile(error, wire.config)
                place = places.throw(error)
                meter.restart(config.connect_timeout)
            except BaseException:
                wire.close()
                raise

    def query(self, sql: str) -> list[Row]:
        """Run SQL by the simple protocol; values are text, `None` is NULL.

        Returns:
            The rows of the last statement that has any.

        Raises:
            ServerError: The server reported an error; the session goes on unless it was FATAL.
            ConfigError: The text contains a zero byte.
            Closed: The session is closed.
            IoError: The connection broke; the session is closed now.
        """
        return self._take_turn(lambda: self._query(sql))

    def copy_to(self, sql: str) -> Iterator[bytes]:
        """Run a ``COPY … TO STDOUT``; yields each CopyData message as the server framed it.

        Breaking off is allowed: the copy is cancelled when the session is used next.

        Raises:
            ServerError: The server reported an error.
            ConfigError: The statement was no ``COPY … TO STDOUT``.
            Closed: The session is closed.
            IoError: The connection broke; the session is closed now.
        """
        return _CopyIterator(self, _Copy(copy_out(sql, self._reader, self._params)))

    def cancel(self) -> None:
        """Ask the server to cancel what the session is running, on a connection of its own, over TLS if this one is.

        Whether it was in time shows in the query, which then fails with SQLSTATE 57014.

        Raises:
            Error: The request could not be delivered.
        """
        wire = Wire(self._place, Meter(self._place.connect_timeout))
        check_cancellable(self._process)
        try:
            wire.drive(cancel(self._place, self._where, *self._process, tls=self._security.tls))
        finally:
            wire.close()

    def close(self) -> None:
        """Say goodbye and close; closing twice is allowed, and nothing is raised."""
        self._closed = True
        self._forget_copy()
        self._wire.close(TERMINATE)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _more(self, copy: _Copy) -> None:
        """Get `copy` some more items; `StopIteration` at its end."""
        if copy.ended:
            raise StopIteration
        self._take_turn(lambda: self._step(copy))

    def _query(self, sql: str) -> list[Row]:
        self._reclaim()
        return self._wire.drive(simple_query(sql, self._reader, self._params))

    def _step(self, copy: _Copy) -> None:
        if self._copy is not copy:
            if copy.begun:
                raise StopIteration
            self._reclaim()
            self._copy = copy
        try:
            copy.step(self._wire)
        except BaseException:
            self._copy = None
            raise

    def _take_turn(self, operation: Callable[[], _T]) -> _T:
        """One operation at a time. What leaves the conversation in doubt closes the session, Ctrl-C above all.

        Everything is inside the outer `try`, so that an interrupt between two steps leaves a closed session at worst,
        and never one that is busy for ever.
        """
        try:
            if self._closed:
                raise closed()
            if not self._lock.acquire(blocking=False):
                raise busy()
            try:
                return operation()
            finally:
                self._lock.release()
        except BaseException as error:
            if not survives(error):
                self._abort()
            raise

    def _reclaim(self) -> None:
        """Make the session ready for the next query, whatever became of the last copy."""
        copy = self._copy
        if copy is None:
            return
        if copy.is_read():
            raise busy()
        self._copy = None
        try:
            self.cancel()
            copy.drain(self._wire)
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


class _Copy(Copy):
    def step(self, wire: Wire) -> None:
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
                    result = wire.perform(item)
                except Error as error:
                    self._exchange.throw(error)
        except StopIteration:
            self.ended = True
            raise
        except Error as error:
            wire.name(error)
            raise

    def drain(self, wire: Wire) -> None:
        try:
            while True:
                self.step(wire)
        except StopIteration:
            pass
        except ServerError as error:
            if not survives(error):
                raise


class _CopyIterator(Iterator[bytes]):
    def __init__(self, session: Session, copy: _Copy) -> None:
        self._session = session
        self._copy = copy
        copy.owner = weakref.ref(self)

    def __next__(self) -> bytes:
        copy = self._copy
        while True:
            for item in copy.items:  # an item at a time costs this and no more; turns are taken for what comes at once
                return item
            self._session._more(copy)
