"""Callbacks for connects: `on_connect`."""

from __future__ import annotations

import functools
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .diagnostics.log import log_failure
from .diagnostics.tracebacks import chain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .config import Config
    from .config.host import Host
    from .security import SecurityReport

__all__ = ["ConnectEvent", "on_connect"]


@dataclass(frozen=True, kw_only=True)
class ConnectEvent:
    """A connect that has succeeded or failed. It contains no secret.

    If a callable in the configuration has raised an exception, this exception is the ``__cause__`` of `error`, with its
    text and the callable's frames.

    Attributes:
        config: The configuration, without its secrets (see `Config.without_secrets`).
        host: The host of the session. After a failure, the last host that was tried; None if no host was tried.
        address: The IP address that was last tried; None for a Unix-domain socket, or if no address was tried.
        security: The report of the session, None after a failure.
        error: The exception that `connect` raises, None after a success. It is an `Error`, or for example a
            `KeyboardInterrupt`, a `MemoryError` or, if the task was cancelled, an `asyncio.CancelledError`.
        started: The time at which the connect began, as of `time.time()`.
        duration: The seconds until the session was ready, or until the failure.
        timings: Seconds by phase, as in `SecurityReport.timings`. The phase that failed is not included. If several
            hosts or addresses were tried, each phase has the sum.
        round_trips: The number of network round trips.
    """

    config: Config
    host: Host | None
    address: str | None
    security: SecurityReport | None
    error: BaseException | None
    started: float
    duration: float
    timings: Mapping[str, float]
    round_trips: int


Callback: TypeAlias = "Callable[[ConnectEvent], object]"


class _Registration:
    """One registered callback. The same function may be registered several times."""

    def __init__(self, callback: Callback) -> None:
        self.callback = callback

    def remove(self) -> None:
        """Remove the callback. It may be called again."""
        if self in registrations:
            try:
                registrations.remove(self)
            except ValueError:
                pass  # another thread was faster


registrations: list[_Registration] = []
#: True in callbacks, and in the tasks and contexts that they create.
_in_callback: ContextVar[bool] = ContextVar("babar_tls_in_callback", default=False)


def on_connect(callback: Callback, /) -> Callable[[], None]:
    """Call a function after each connect of this process that has succeeded or failed.

    `Session.connect`, `AsyncSession.connect` and the driver integrations are connects; cancel requests are not. The
    function runs in the thread, the task and the context (`contextvars`) of the caller of `connect`, before `connect`
    returns or raises. It should be fast, because the caller waits, and with asyncio the whole event loop. An exception
    of the function is logged by the logger ``babar_tls`` and has no other effect. Only its type is logged if it is, or
    refers to, the error of the connect. Exceptions that are not an `Exception`, such as `KeyboardInterrupt`, close the
    session and are raised by `connect`.

    The function may connect, and may add and remove callbacks. A connect within a callback, or within a task that it
    has started, is not reported. The same applies to log handlers that receive a line of this library. A coroutine that
    is closed or collected before it is complete is not reported either.

    Args:
        callback: Called with the `ConnectEvent`. Its result is ignored.

    Returns:
        A function without arguments that removes the callback. A connect that ends in another thread at that moment may
        still call it.

    Raises:
        TypeError: `callback` is not callable, or is a coroutine function or an object with an ``async __call__``.
    """
    if not callable(callback):
        raise TypeError(f"callback must be callable, not {type(callback).__name__}")
    if _is_asynchronous(callback):
        raise TypeError("callback must not be a coroutine function: nothing would await it")
    registration = _Registration(callback)
    registrations.append(registration)
    return registration.remove


def is_in_callback() -> bool:
    """Return True in a callback, and in a task that it has started: connects are not reported."""
    return _in_callback.get()


def notify(event: ConnectEvent) -> None:
    """Call all callbacks, in the order in which they were added."""
    outer = sys.exception()
    token = _in_callback.set(True)
    try:
        for registration in tuple(registrations):
            try:
                registration.callback(event)
            except Exception as exc:
                _cut_context(exc, outer)
                message = f"the on_connect callback {_name(registration.callback)} raised {type(exc).__name__}"
                # A callable of the configuration may have raised one of the event's exceptions, with a secret as text.
                secret = {id(error) for error in chain(event.error)}
                log_failure(message, None if any(id(error) in secret for error in chain(exc)) else exc)
    finally:
        _in_callback.reset(token)


def _cut_context(error: BaseException, outer: BaseException | None) -> None:
    """Remove the exception that was being handled before the callback, and its context, from the context of `error`."""
    for current in chain(error, outer):
        if current.__context__ is outer:
            current.__context__ = None


def _is_asynchronous(callback: object) -> bool:
    """Return True for coroutine functions, also in a `functools.partial`, and objects with an ``async __call__``."""
    import inspect  # noqa: PLC0415 - slow to import, and rarely needed

    while isinstance(callback, functools.partial):
        callback = callback.func
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__)


def _name(callback: object) -> str:
    """Return the name of a callback. An object may compute its attributes, and raise any exception."""
    try:
        return str(callback.__qualname__)  # type: ignore[attr-defined]  # objects do not have it
    except Exception:
        return type(callback).__qualname__
