"""Ctrl-C that ends a command once, at a point where that is safe."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType, TracebackType


class Interrupts:
    """While it is entered, the first Ctrl-C is a `KeyboardInterrupt` and the next ones are nothing.

    An impatient second one would interrupt the clearing up. After `defer`, the first waits for the next `check`: raised
    inside a callback from C, as pyOpenSSL verifies certificates by, the exception would be printed and lost.

    Outside the main thread, or where Ctrl-C has been given another meaning, it does nothing.
    """

    def __init__(self) -> None:
        self._ours = False
        self._deferred = False
        self._pending = False

    def __enter__(self) -> Interrupts:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)
            self._ours = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if kind is None:
            self.check()

    def defer(self) -> None:
        """From now on, leave Ctrl-C to `check`."""
        self._deferred = True

    def check(self) -> None:
        """Be interrupted here.

        Raises:
            KeyboardInterrupt: There was a Ctrl-C.
        """
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not self._deferred:
            signal.default_int_handler(number, frame)
        self._pending = True
