"""`Session`: a session with blocking operations."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar, Unpack

from ._observation import observe
from ._session_base import CopyIterator, SessionBase, as_config, busy, check_config, survives
from .diagnostics.tracebacks import clears_locals
from .net.blocking import BlockingConnection, deliver_cancel
from .net.deadline import Meter
from .net.establish import Ready, establish
from .net.password import fetch_password
from .protocol.messages import TERMINATE

if TYPE_CHECKING:
    from types import TracebackType

    from .config import Config, ConfigOptions
    from .net.blocking import Connector
    from .net.secure_stream import SecureStream
    from .protocol.query import Row
    from .protocol.requests import Exchange

__all__ = ["Session", "connect"]

_T = TypeVar("_T")


@clears_locals
def connect(target: str | Config = "", /, **overrides: Unpack[ConfigOptions]) -> Session:
    """Connect to a server and return the session: the short form of `Session.connect`.

    Args:
        target: A `Config`, or a libpq URI or keyword string.
        **overrides: Fields of `Config` that replace those of `target`.

    Raises:
        Error: See `Session.connect`.
    """
    return Session.connect(as_config(target, overrides))


class Session(SessionBase):
    """An open session: secured, authenticated and ready for queries. Create one with `Session.connect`.

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
        """Connect, negotiate TLS, verify the server and authenticate.

        `Config.connect_timeout` limits the time for each host. Only the resolution of a host name has no limit if no
        thread can be started for it. It cannot interrupt the callable in `Config.password`, which is called here first.

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
            return cls._open(config, Meter(config.connect_timeout), BlockingConnection)
        del config  # callbacks get an error whose traceback refers to this frame
        with observation:
            return observation.opened(
                cls._open(observation.config, observation.meter, observation.connector(BlockingConnection))
            )

    @classmethod
    def _open(cls, config: Config, meter: Meter, connect: Connector) -> Session:
        return cls(config, establish(config, meter, connect, fetched=fetch_password(config, meter)))

    def query(self, sql: str) -> list[Row]:
        """Run SQL with the simple query protocol. Values are text; NULL is `None`.

        Returns:
            The rows of the last statement that returns any.

        Raises:
            ServerError: The server reported an error; the session stays usable unless the error is FATAL or PANIC.
            ConfigError: The text contains a NUL, or a statement is a ``COPY … TO STDOUT``.
            Closed: The session is closed, or was closed by another thread.
            IoError: The connection failed; the session is closed.
            Error: The session was opened before a fork.
        """
        return self._take_turn(self._query(sql))

    def copy_to(self, sql: str) -> Iterator[bytes]:
        """Run a ``COPY … TO STDOUT``; yield the content of each CopyData message.

        The iterator may be dropped at any time. The next operation of the session then cancels the copy.

        Raises:
            ServerError: The server reported an error.
            ConfigError: The statement was not a ``COPY … TO STDOUT``.
            Closed: The session is closed, or was closed by another thread.
            IoError: The connection failed; the session is closed.
            Error: The session was opened before a fork.
        """
        return _CopyIterator(self, sql)

    @clears_locals
    def cancel(self) -> None:
        """Send a cancel request for the running query on a separate connection, over TLS if this session uses TLS.

        If it arrives in time, the query fails with SQLSTATE 57014.

        Raises:
            Error: The request could not be delivered.
        """
        request = self._cancel_request()
        deliver_cancel(request, Meter(request.config.connect_timeout))

    def detach(self) -> SecureStream:
        """End the session and return its connection, for the use of another driver.

        Afterwards the session only supports `cancel`, and the caller closes the connection.

        Raises:
            Busy: An operation or a copy is unfinished.
            Closed: The session is closed, or was closed by another thread.
            Error: The session was opened before a fork.
        """
        self._check_usable()
        if not self._lock.acquire(blocking=False):
            raise busy()
        try:
            self._check_usable()
            return self._release()
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the session and close the connection. It may be called again, and raises no error.

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
        """Run an operation if none is running. Close the session if it leaves the state of the conversation in doubt.

        An interrupt (Ctrl-C) has this effect. It may be raised at any point: right after `acquire`, before `_owner` is
        set, and while another interrupt is handled. So the session is closed unless the operation is known to be
        complete.
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
                    if self._closed:  # perhaps by another thread, which could not get the lock
                        self.close()
        return result


class _CopyIterator(CopyIterator, Iterator[bytes]):
    _session: Session

    def __next__(self) -> bytes:
        session, copy = self._session, self._copy
        while True:
            for item in copy.items:  # fast path: only the next batch needs a turn
                return item
            if copy.ended or not session._take_turn(session._more(copy)):
                raise StopIteration
