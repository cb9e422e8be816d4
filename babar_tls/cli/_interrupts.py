"""Ctrl-C that interrupts a command once, at a safe point."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Interrupts:
    """A context in which the first Ctrl-C raises `KeyboardInterrupt` and later ones are ignored.

    A second Ctrl-C would interrupt the cleanup. After `defer`, only `check` raises the exception,
    because an exception in a callback from C (pyOpenSSL verifies certificates in one) would be printed and lost.

    Outside the main thread, or if SIGINT has another handler, the context has no effect.
    """

    def __init__(self) -> None:
        self._is_installed = False
        self._deferred = False
        self._pending = False

    def __enter__(self) -> Interrupts:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)
            self._is_installed = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if kind is None:
            self.check()

    def defer(self) -> None:
        """From now on, raise `KeyboardInterrupt` only in `check`."""
        self._deferred = True

    def check(self) -> None:
        """Raise the deferred interrupt.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not self._deferred:
            signal.default_int_handler(number, frame)
        self._pending = True
