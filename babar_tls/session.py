"""`Session`: a ready connection, blocking."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ._session_base import CopyIterator, SessionBase, as_config, busy, survives
from .diagnostics.tracebacks import clears_locals
from .net.blocking import BlockingConnection, deliver_cancel
from .net.deadline import Meter
from .net.establish import Ready, establish
from .protocol.messages import TERMINATE

if TYPE_CHECKING:
    from types import TracebackType

    from .config import Config
    from .protocol.query import Row
    from .protocol.requests import Exchange

__all__ = ["Session", "connect"]

_T = TypeVar("_T")


@clears_locals
def connect(target: str | Config = "", /, **overrides: Any) -> Session:
    """Connect, blocking: the short form of `Session.connect`.

    Args:
        target: A `Config`, or a libpq URI or keyword string.
        **overrides: Fields of `Config` that replace those of `target`.

    Raises:
        Error: See `Session.connect`.
    """
    return Session.connect(as_config(target, overrides))


class Session(SessionBase):
    """A ready session: secured, authenticated, waiting for a query. Create one with `Session.connect`.

    One thread at a time may use it. `cancel` and `close` may be called from other threads and from signal handlers. A
    failure that leaves the state of the conversation in doubt closes the session.
    """

    _connection: BlockingConnection

    def __init__(self, config: Config, ready: Ready) -> None:
        self._connection = ready.connection
        self._lock = threading.Lock()  # the thread that holds it owns the connection
        self._owner: int | None = None  # that thread
        super().__init__(config, ready)
        self._connection.settle()

    @classmethod
    @clears_locals
    def connect(cls, config: Config) -> Session:
        """Connect, negotiate, verify, authenticate.

        `Config.connect_timeout` limits all of it for each host, except that a host name is looked up without a limit if
        no thread can be started for it.

        Raises:
            ConfigError: A file that `config` names cannot be used.
            BackendUnavailable: The TLS library is not installed.
            IoError: The server cannot be reached; `TimeoutError`, `TlsError`, `CertificateError` are kinds of it.
            TargetSessionError: No host has a session as `target_session_attrs` requires it.
            AuthError: Authentication failed, or policy forbade what the server requested.
            ServerError: The server refused: no such database, too many connections.
            ProtocolError: The other end is not a PostgreSQL server, or it is an attacker.
        """
        return cls(config, establish(config, Meter(config.connect_timeout), BlockingConnection))

    def query(self, sql: str) -> list[Row]:
        """Run SQL by the simple protocol; values are text, `None` is NULL.

        Returns:
            The rows of the last statement that returns any.

        Raises:
            ServerError: The server reported an error; the session stays usable unless it was FATAL.
            ConfigError: The text contains a NUL.
            Closed: The session is closed, or was closed by another thread.
            IoError: The connection broke; the session is closed now.
            Error: The session was opened before a fork.
        """
        return self._take_turn(self._query(sql))

    def copy_to(self, sql: str) -> Iterator[bytes]:
        """Run a ``COPY … TO STDOUT``; yield each CopyData message as the server framed it.

        The iterator may be dropped at any time: the copy is cancelled by the next operation of the session.

        Raises:
            ServerError: The server reported an error.
            ConfigError: The statement was not a ``COPY … TO STDOUT``.
            Closed: The session is closed, or was closed by another thread.
            IoError: The connection broke; the session is closed now.
            Error: The session was opened before a fork.
        """
        return _CopyIterator(self, sql)

    @clears_locals
    def cancel(self) -> None:
        """Send a cancel request for the running query on a separate connection, over TLS if this session uses TLS.

        If it was in time, the query fails with SQLSTATE 57014.

        Raises:
            Error: The request could not be delivered.
        """
        request = self._cancel_request()
        deliver_cancel(request, Meter(request.config.connect_timeout))

    def close(self) -> None:
        """End the session and close the connection; closing twice is allowed, and nothing is raised.

        An operation that runs in another thread, or that a signal handler has interrupted, raises `Closed`.
        """
        self._closed = True
        if self._interruption.is_forked:
            self._connection.close_copy()
        elif self._lock.acquire(blocking=False):
            try:
                self._finish(TERMINATE)
            finally:
                self._lock.release()
        else:
            self._interruption.request()  # the operation that holds the lock closes the connection

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take_turn(self, operation: Exchange[_T]) -> _T:
        """Run one operation at a time; close the session after what leaves the conversation in doubt, such as Ctrl-C.

        Interrupts may come at any moment: right after `acquire`, before there is an owner, and while another interrupt
        is handled. So the conversation is in doubt until the opposite is known.
        """
        self._check_usable()
        this_thread = threading.get_ident()
        if self._owner == this_thread:
            raise busy()  # a signal handler or a destructor has interrupted an operation of this thread
        in_doubt = False
        try:
            if not self._lock.acquire(blocking=False):
                self._check_usable()  # another thread may hold it to close the session
                raise busy()
            self._owner = this_thread
            self._check_usable()  # another thread may have closed it since the first check
            in_doubt = True
            result = self._connection.drive(operation)
            in_doubt = False
        except BaseException as error:
            if survives(error):
                in_doubt = False
            elif self._owner is None:
                self._finish()
            raise
        finally:
            if self._owner == this_thread:
                try:
                    if in_doubt:
                        self._closed = True
                        self._finish()
                finally:
                    try:
                        self._owner = None
                    finally:
                        self._lock.release()
                    if self._closed:  # another thread may have closed it, which could not own the connection
                        self.close()
        return result


class _CopyIterator(CopyIterator, Iterator[bytes]):
    _session: Session

    def __next__(self) -> bytes:
        session, copy = self._session, self._copy
        while True:
            for item in copy.items:  # one item costs no more than this; a turn is taken for each batch
                return item
            if copy.ended or not session._take_turn(session._more(copy)):
                raise StopIteration
