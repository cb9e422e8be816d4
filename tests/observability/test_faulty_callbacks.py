"""Callbacks of `on_connect` that are refused, that raise, and that interrupt."""

from __future__ import annotations

import functools
import inspect
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest

import babar_tls
from babar_tls import Config, ConnectEvent, InvalidPassword, PasswordUnavailable, Session, Unreachable, on_connect

from .opening import connect, connect_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import PostgresServer


class Asynchronous:
    async def __call__(self, event: ConnectEvent) -> None:
        pass

    async def method(self, event: ConnectEvent) -> None:
        pass


@pytest.mark.parametrize(
    "callback",
    [
        None,
        5,
        connect_async,
        functools.partial(connect_async),
        functools.partial(functools.partial(connect_async), style="asyncio"),
        Asynchronous(),
        Asynchronous().method,
        functools.partial(Asynchronous()),
        AsyncMock(),
    ],
    ids=lambda callback: type(callback).__name__,
)
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


def test_callback_whose_name_cannot_be_read_is_logged(refused: Config, caplog: pytest.LogCaptureFixture) -> None:
    class Callback:
        def __call__(self, _event: ConnectEvent) -> None:
            raise ValueError("from the callback")

        def __getattr__(self, name: str) -> Any:
            if name == "__qualname__":
                raise RuntimeError(name)
            raise AttributeError(name)

    remove = on_connect(Callback())
    try:
        with pytest.raises(Unreachable):
            connect(refused, "blocking")
    finally:
        remove()
    (record,) = caplog.records
    assert record.getMessage().endswith("Callback raised ValueError")


def raise_it(event: ConnectEvent) -> None:
    assert event.error is not None
    raise event.error


def raise_from_it(event: ConnectEvent) -> None:
    raise RuntimeError("another") from event.error


def raise_its_cause(event: ConnectEvent) -> None:
    assert event.error is not None
    raise RuntimeError("another") from event.error.__cause__


def raise_a_group(event: ConnectEvent) -> None:
    assert isinstance(event.error, Exception)
    raise ExceptionGroup("all", [event.error])


def raise_while_handling_it(event: ConnectEvent) -> None:
    try:
        raise_it(event)
    except PasswordUnavailable as error:
        raise KeyError("another") from error.__cause__


@pytest.mark.parametrize("callback", [raise_it, raise_from_it, raise_its_cause, raise_a_group, raise_while_handling_it])
def test_callback_that_raises_the_error_of_the_connect_does_not_log_its_text(
    callback: Callable[[ConnectEvent], None], refused: Config, style: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The error refers to an exception of the callable in the configuration, whose text may contain a secret."""

    def unavailable() -> str:
        raise ValueError("hunter2")

    remove = on_connect(callback)
    try:
        with pytest.raises(PasswordUnavailable):
            connect(refused.replace(password=unavailable), style)
    finally:
        remove()
    (record,) = caplog.records
    assert f"the on_connect callback {callback.__name__} raised " in record.getMessage()
    assert "hunter2" not in logging.Formatter().format(record)


def raise_cycle(event: ConnectEvent) -> None:
    first, second = ValueError("first"), ValueError("second")
    try:
        raise first
    except ValueError:
        first.__context__, second.__context__ = second, first
        raise


def raise_with_cycle_as_cause(event: ConnectEvent) -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


@pytest.mark.parametrize("callback", [raise_cycle, raise_with_cycle_as_cause])
def test_callback_may_raise_an_exception_whose_contexts_form_a_cycle(
    callback: Callable[[ConnectEvent], None], refused: Config
) -> None:
    code = (
        "from babar_tls import Unreachable, on_connect, connect\n"
        f"{inspect.getsource(callback).replace(': ConnectEvent', '')}\n"
        f"on_connect({callback.__name__})\n"
        f"try: connect('host=127.0.0.1 port={refused.port}')\n"
        "except Unreachable: print('raised')"
    )
    folder = str(Path(babar_tls.__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {folder!r})\n{code}"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - this Python
    assert run.stdout.split() == ["raised"]
    assert "ValueError: first" in run.stderr


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
