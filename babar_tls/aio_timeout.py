"""A deadline for asyncio code, on every Python that we support."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .errors import Error


class Timeout:
    """Cancels what runs inside after so many seconds and turns that into an error of ours.

    `asyncio.timeout` came with Python 3.11; this is what we need of it on 3.10 too. A cancellation from outside stays
    a cancellation, even one that comes together with the timeout where Python can tell the two apart (3.11).
    """

    def __init__(self, seconds: float | None, error: Callable[[], Error]) -> None:
        self._seconds = seconds
        self._error = error
        self._expired = False

    async def __aenter__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None
        if self._seconds is None:
            return
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        self._task = task
        self._cancelling = getattr(task, "cancelling", lambda: 0)()
        self._handle = asyncio.get_running_loop().call_later(max(self._seconds, 0), self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if not self._expired:
            return
        still_cancelled = getattr(self._task, "uncancel", lambda: 0)() > self._cancelling
        if isinstance(error, asyncio.CancelledError) and not still_cancelled:
            raise self._error() from error
