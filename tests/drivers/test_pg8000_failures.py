"""pg8000 over connections that break, time out, or are interrupted, and versions of pg8000 that are not supported."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pg8000", reason="needs the extra pg8000")

import pg8000
import pg8000.native

import babar_tls
from babar_tls.integrations import pg8000 as secure

from .relay import Relay
from .test_pg8000 import target, value

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer


def descriptors() -> int:
    """Return the number of open file descriptors, or 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def reason(error: BaseException) -> BaseException | None:
    """Return the error of babar-tls: `error` itself, or its cause if pg8000 has converted it."""
    return error if isinstance(error, babar_tls.Error) else error.__cause__


def test_timeout_ends_the_connection(server: PostgresServer, backend: str) -> None:
    connection = secure.connect(target(server, tls_backend=backend), timeout=0.3)
    with pytest.raises(pg8000.InterfaceError, match="network error") as caught:
        value(connection, "select pg_sleep(30), 'late'")
    assert isinstance(reason(caught.value), TimeoutError)
    with pytest.raises(pg8000.InterfaceError):  # and not the response to the first query
        value(connection, "select 'next'")
    connection.close()
    with pytest.raises(babar_tls.ConfigError):
        secure.connect(target(server), timeout=0)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="the test sends a signal to a thread")
def test_interrupt_ends_the_connection(server: PostgresServer, backend: str) -> None:
    connection = secure.native(target(server, tls_backend=backend))
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            connection.run("select pg_sleep(30)")
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(pg8000.InterfaceError) as caught:
        connection.run("select 1")
    assert "interrupt" in str(reason(caught.value))
    connection.close()


def test_terminated_session_reports_the_reason(server: PostgresServer, backend: str) -> None:
    connection = secure.native(target(server, tls_backend=backend))
    pid = connection.run("select pg_backend_pid()")[0][0]
    server.sql(f"select pg_terminate_backend({pid}, 5000)")
    with pytest.raises(pg8000.Error):
        connection.run("select 1")
    with pytest.raises(pg8000.InterfaceError, match="network error"):
        connection.run("select 1")
    connection.close()


@pytest.mark.parametrize("fault", ["fin", "rst", "flipped"])
def test_broken_connection_raises_an_error_and_closes(server: PostgresServer, backend: str, fault: str) -> None:
    with Relay(server) as relay:
        connection = secure.native(target(server, port=relay.port, tls_backend=backend))
        relay.fault = fault
        with pytest.raises(pg8000.InterfaceError, match="network error") as caught:
            connection.run("select 1")
        assert isinstance(reason(caught.value), babar_tls.IoError)
        connection.close()


def test_server_gets_the_alert_for_a_damaged_record(server: PostgresServer, backend: str) -> None:
    log_start = len(server.log())
    with Relay(server) as relay:
        connection = secure.native(target(server, port=relay.port, tls_backend=backend))
        pid = connection.run("select pg_backend_pid()")[0][0]
        relay.fault = "flipped"
        with pytest.raises(pg8000.InterfaceError):
            connection.run("select 1")
        connection.close()
        while server.sql(f"select pid from pg_stat_activity where pid = {pid}"):
            time.sleep(0.01)
    assert "bad record mac" in server.log()[log_start:]


def test_dropped_connection_closes_its_socket(server: PostgresServer, backend: str) -> None:
    connection = secure.connect(target(server, tls_backend=backend))
    number = connection._usock.fileno()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del connection
        gc.collect()
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(number)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_child_process_cannot_use_or_end_the_connection(server: PostgresServer) -> None:
    with secure.native(target(server)) as connection:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other tests may have left threads
            child = os.fork()
        if child == 0:
            status = 1
            try:
                connection.run("select 1")
            except pg8000.InterfaceError:
                connection.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert connection.run("select 'alive'") == [["alive"]]


def test_connects_and_refusals_leave_no_descriptor(server: PostgresServer, backend: str) -> None:
    config = target(server, tls_backend=backend)
    wrong = config.replace(password="wrong")
    secure.connect(config).close()
    before = descriptors()
    for attempt in range(120):
        if attempt % 5:
            secure.legacy(config).close()
        else:
            with pytest.raises(pg8000.ProgrammingError):
                secure.legacy(wrong)
    assert descriptors() <= before


@pytest.mark.parametrize("end", ["close", "drop"])
def test_timeouts_leave_no_descriptor_and_no_object(server: PostgresServer, backend: str, end: str) -> None:
    def expire() -> weakref.ref[Any]:
        connection = secure.connect(target(server, tls_backend=backend), timeout=0.3)
        reference = weakref.ref(connection._usock)
        for _ in range(2):  # the second error is that of the failed connection
            with pytest.raises(pg8000.InterfaceError):
                value(connection, "select pg_sleep(1)")
        if end == "close":
            connection.close()
        return reference

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a dropped connection may warn
        before = descriptors()
        sockets = [expire() for _ in range(3)]
        gc.collect()
    assert [reference() for reference in sockets] == [None] * 3
    assert descriptors() <= before


class _Faulty(pg8000.native.Connection):  # type: ignore[misc]  # pg8000 is untyped
    def __init__(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("the constructor has failed")


class _Ignoring(pg8000.native.Connection):  # type: ignore[misc]  # pg8000 is untyped
    def __init__(self, *_: Any, **__: Any) -> None:
        pass


class _Asking(pg8000.native.Connection):  # type: ignore[misc]  # pg8000 is untyped
    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **{**keywords, "ssl_context": None})


class _Other(pg8000.native.Connection):  # type: ignore[misc]  # pg8000 is untyped
    def __init__(self, user: str) -> None:
        pass


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (_Faulty, RuntimeError),
        (_Ignoring, babar_tls.IntegrationError),
        (_Asking, babar_tls.IntegrationError),
        (_Other, babar_tls.IntegrationError),
    ],
)
def test_unknown_behaviour_of_pg8000_is_refused(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, behaviour: Any, error: type[Exception]
) -> None:
    monkeypatch.setattr(pg8000.native, "Connection", behaviour)
    before = descriptors()
    with pytest.raises(error):
        secure.native(target(server))
    assert descriptors() <= before
