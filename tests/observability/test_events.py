"""The events of `on_connect`: what is reported."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import (
    AsyncSession,
    Config,
    ConnectEvent,
    Host,
    InvalidPassword,
    PasswordUnavailable,
    Session,
    Unreachable,
    on_connect,
)

from .opening import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import PostgresServer

SECRET = "hunter2-secret"


@pytest.fixture
def silent() -> Iterator[Config]:
    """Return the configuration of a server that accepts and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Config(host="127.0.0.1", port=listener.getsockname()[1], user="app", password=SECRET, connect_timeout=30)


def test_success_is_reported(config: Config, style: str, events: list[ConnectEvent]) -> None:
    before = time.time()
    connect(config, style)
    (event,) = events
    assert event.security is not None
    assert event.error is None
    assert event.security.verified == "full"
    assert event.host == config.targets[0]
    assert event.address == "127.0.0.1"
    assert before - 1 <= event.started <= time.time() + 1
    assert 0 < sum(event.timings.values()) <= event.duration
    assert event.timings == event.security.timings
    assert event.round_trips == event.security.round_trips


def test_refused_login_is_reported(config: Config, style: str, events: list[ConnectEvent]) -> None:
    with pytest.raises(InvalidPassword) as caught:
        connect(config.replace(password="wrong"), style)
    (event,) = events
    assert event.error is caught.value
    assert event.security is None
    assert event.address == "127.0.0.1"
    assert event.timings["tls"] > 0


def test_unreachable_server_is_reported(refused: Config, style: str, events: list[ConnectEvent]) -> None:
    with pytest.raises(Unreachable):
        connect(refused, style)
    (event,) = events
    assert isinstance(event.error, Unreachable)
    assert event.host == refused.targets[0]
    assert event.address == "127.0.0.1"
    assert set(event.timings) == {"resolve", "tcp", "negotiate", "tls", "auth", "ready"}


def test_one_event_for_several_hosts(config: Config, refused: Config, style: str, events: list[ConnectEvent]) -> None:
    hosts = (Host("127.0.0.1", refused.port), config.targets[0])
    connect(config.replace(hosts=hosts), style)
    (event,) = events
    assert event.error is None
    assert event.host == hosts[1]
    assert event.config.targets == hosts


def test_missing_password_is_reported_before_any_host(refused: Config, style: str, events: list[ConnectEvent]) -> None:
    def fail() -> str:
        raise RuntimeError(SECRET)

    with pytest.raises(PasswordUnavailable):
        connect(refused.replace(password=fail), style)
    (event,) = events
    assert isinstance(event.error, PasswordUnavailable)
    assert event.host is None
    assert event.address is None
    assert SECRET not in repr(event)


def test_unix_socket_has_no_address(server: PostgresServer, style: str, events: list[ConnectEvent]) -> None:
    connect(
        Config(host=str(server.socket_dir), port=server.port, user="app", password="secret", database="postgres"), style
    )
    (event,) = events
    assert event.address is None
    assert event.host is not None
    assert event.host.is_unix_socket


def test_event_contains_no_secret(refused: Config, style: str, events: list[ConnectEvent]) -> None:
    key = SECRET.encode().ljust(32, b"x")
    config = refused.replace(
        password=SECRET,
        scram_client_key=key,
        scram_server_key=key,
        tls_client_cert=key,
        tls_client_key=key,
        tls_client_key_password=lambda: SECRET,
        passfile="/nonexistent/passfile",
    )
    assert config.tls_parameters.client_certificate is not None  # cached in the instance
    with pytest.raises(Unreachable):
        connect(config, style)
    (event,) = events
    kept = vars(event.config)
    assert not any(SECRET in repr(value) or callable(value) for value in kept.values())
    assert {name for name, value in kept.items() if value is None} >= {
        *("password", "scram_client_key", "scram_server_key"),
        *("tls_client_cert", "tls_client_key", "tls_client_key_password"),
    }
    assert event.config.passfile == "/nonexistent/passfile"
    assert event.config.port == refused.port
    assert event.config.tls_parameters.client_certificate is None


def test_callback_gets_a_traceback_without_local_variables(config: Config, style: str) -> None:
    found: list[str] = []

    def look(event: ConnectEvent) -> None:
        traceback = event.error.__traceback__ if event.error is not None else None
        while traceback is not None:
            if "babar_tls" in traceback.tb_frame.f_code.co_filename:
                found.extend(map(repr, traceback.tb_frame.f_locals.values()))
            traceback = traceback.tb_next

    remove = on_connect(look)
    try:
        with pytest.raises(InvalidPassword):
            connect(config.replace(password=lambda: SECRET), style)
    finally:
        remove()
    assert found
    assert not any(SECRET in text for text in found)


def test_cancel_request_is_not_reported(config: Config, events: list[ConnectEvent]) -> None:
    with Session.connect(config) as session:
        session.cancel()
    assert len(events) == 1


def test_cancelled_task_is_reported(silent: Config, events: list[ConnectEvent]) -> None:
    async def cancel() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await AsyncSession.connect(silent)

    asyncio.run(cancel())
    (event,) = events
    assert isinstance(event.error, asyncio.CancelledError)
    assert event.host == silent.targets[0]


def test_closed_coroutine_is_not_reported(silent: Config, events: list[ConnectEvent]) -> None:
    async def start() -> Any:
        coroutine = AsyncSession.connect(silent)
        coroutine.send(None)
        coroutine.close()

    asyncio.run(start())
    assert events == []


def test_interrupt_is_reported(refused: Config, style: str, events: list[ConnectEvent]) -> None:
    def interrupt() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        connect(refused.replace(password=interrupt), style)
    (event,) = events
    assert isinstance(event.error, KeyboardInterrupt)
