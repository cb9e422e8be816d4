"""Where the callbacks of `on_connect` run."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from babar_tls import Config, ConnectEvent, Session, Unreachable, on_connect

from .opening import connect, connect_async


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
