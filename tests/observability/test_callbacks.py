"""Where the callbacks of `on_connect` run, and what a faulty callback does."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import Config, ConnectEvent, InvalidPassword, Session, Unreachable, on_connect

from .opening import connect, connect_async

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer


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
