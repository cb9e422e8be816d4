"""`on_connect`: what is reported, where callbacks run, and what a faulty callback does."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextvars import ContextVar
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

from .opening import STYLES, connect, connect_async

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import PostgresServer

SECRET = "hunter2-secret"


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def silent() -> Iterator[Config]:
    """Return the configuration of a server that accepts and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Config(host="127.0.0.1", port=listener.getsockname()[1], user="app", password=SECRET, connect_timeout=30)


# What is reported ----------------------------------------------------------------------------------------------------


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


# Where callbacks run -------------------------------------------------------------------------------------------------


def test_callback_runs_in_the_thread_and_context_of_the_caller(refused: Config, style: str) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("of the caller")
    found = []
    remove = on_connect(lambda _event: found.append((threading.current_thread(), variable.get())))
    try:
        with pytest.raises(Unreachable):
            connect(refused, style)
    finally:
        remove()
    assert found == [(threading.current_thread(), "of the caller")]


def test_callbacks_run_in_order_until_they_are_removed(refused: Config) -> None:
    calls = []
    removers = [on_connect(lambda _event, number=number: calls.append(number)) for number in range(3)]
    removers[1]()
    removers[1]()
    with pytest.raises(Unreachable):
        connect(refused, "blocking")
    for remove in removers:
        remove()
    with pytest.raises(Unreachable):
        connect(refused, "blocking")
    assert calls == [0, 2]


def test_callback_may_connect_without_being_called_again(config: Config, style: str) -> None:
    calls = []

    def reconnect(event: ConnectEvent) -> None:
        calls.append(event)
        Session.connect(config).close()

    remove = on_connect(reconnect)
    try:
        connect(config, style)
        connect(config, style)
    finally:
        remove()
    assert len(calls) == 2


def test_connects_of_tasks_that_a_callback_starts_are_not_reported(config: Config) -> None:
    calls = []
    tasks = []

    def start(event: ConnectEvent) -> None:
        calls.append(event)
        tasks.append(asyncio.get_running_loop().create_task(connect_async(config)))

    async def main() -> None:
        await connect_async(config)
        await asyncio.gather(*tasks)

    remove = on_connect(start)
    try:
        asyncio.run(main())
    finally:
        remove()
    assert len(calls) == len(tasks) == 1


def test_callback_may_add_and_remove_callbacks(refused: Config) -> None:
    calls = []

    def first(_event: ConnectEvent) -> None:
        calls.append("first")
        remove_first()
        removers.append(on_connect(lambda _event: calls.append("second")))

    removers = []
    remove_first = on_connect(first)
    for _ in range(2):
        with pytest.raises(Unreachable):
            connect(refused, "blocking")
    for remove in removers:
        remove()
    assert calls == ["first", "second"]


def test_callbacks_can_be_added_and_removed_by_many_threads(refused: Config) -> None:
    def work() -> None:
        for _ in range(200):
            on_connect(lambda _event: None)()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for _ in range(20):
        with pytest.raises(Unreachable):
            connect(refused, "blocking")
    for worker in workers:
        worker.join(30)
    from babar_tls import hooks

    assert hooks.registrations == []


# Faulty callbacks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("callback", [None, 5, connect_async], ids=["None", "int", "coroutine function"])
def test_unusable_callback_is_refused(callback: Any) -> None:
    with pytest.raises(TypeError, match="callback must"):
        on_connect(callback)


def test_exception_of_a_callback_is_logged_and_has_no_other_effect(
    config: Config, style: str, events: list[ConnectEvent], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_event: ConnectEvent) -> None:
        raise ValueError("from the callback")

    remove = on_connect(fail)
    later: list[ConnectEvent] = []
    remove_later = on_connect(later.append)
    try:
        with pytest.raises(InvalidPassword) as caught:
            connect(config.replace(password="wrong"), style)
        connect(config, style)
    finally:
        remove()
        remove_later()
    assert len(events) == len(later) == 2
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(records) == 2
    for record in records:
        assert record.name == "babar_tls"
        assert record.getMessage().endswith(".fail raised ValueError")
        shown = logging.Formatter().format(record)
        assert "from the callback" in shown
        assert "_observation.py" not in shown
        assert "InvalidPassword" not in shown
    assert not isinstance(caught.value.__context__, ValueError)


def test_interrupt_in_a_callback_closes_the_session(config: Config, server: PostgresServer, style: str) -> None:
    def interrupt(_event: ConnectEvent) -> None:
        raise KeyboardInterrupt

    remove = on_connect(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            connect(config.replace(application_name=f"interrupted-{style}"), style)
    finally:
        remove()
    # tests/conftest.py fails if a socket is left open, and an unclosed session would raise a ResourceWarning.
    deadline = time.monotonic() + 20
    counting = f"select count(*) from pg_stat_activity where application_name = 'interrupted-{style}'"
    with Session.connect(config) as session:
        while session.query(counting) != [("0",)]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
