"""Pass on exceptions that are raised while pyOpenSSL calls back into Python.

cffi, through which OpenSSL calls pyOpenSSL's Python code, cannot pass an exception to C. It reports it to
`sys.unraisablehook` and returns 0, so that Ctrl-C in the middle of a handshake would be lost, or look like a rejected
certificate. Most of that code is pyOpenSSL's, so that catching exceptions in our callbacks is not enough.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["run_with_callbacks"]

_T = TypeVar("_T")
_MARK = "cffi callback"  # in the message of cffi

#: Reentrant: a signal handler may connect while its own thread is here.
_lock = threading.RLock()
#: What was lost in each thread that runs a step.
_lost: dict[int, list[BaseException]] = {}
_previous_hook: Callable[[Any], Any] = sys.__unraisablehook__


def run_with_callbacks(step: Callable[..., _T], *arguments: Any) -> _T:
    """Call a method of pyOpenSSL; raise the exception that a callback raised inside of it, whatever it is.

    While such calls run, `sys.unraisablehook` is replaced by one that passes everything else on to the previous one.
    """
    thread = threading.get_ident()
    lost: list[BaseException] = []
    outer = None
    try:
        outer = _begin(thread, lost)
        result = step(*arguments)
    except Exception:
        if lost:
            raise lost.pop(0) from None
        raise
    finally:
        try:
            _end(thread, outer)
        except BaseException:  # an interruption in these very lines
            _end(thread, outer)
            raise
    if lost:
        raise lost.pop(0)
    return result


def _begin(thread: int, lost: list[BaseException]) -> list[BaseException] | None:
    global _previous_hook  # noqa: PLW0603 - the hook is global too
    with _lock:
        if sys.unraisablehook is not _hook:
            _previous_hook = sys.unraisablehook
            sys.unraisablehook = _hook
        outer = _lost.get(thread)
        if outer is not None and not _runs_a_step(sys._getframe(2)):
            outer = None  # two interruptions in the lines that remove it left it behind
        _lost[thread] = lost
        return outer


def _end(thread: int, outer: list[BaseException] | None) -> None:
    with _lock:
        if outer is None:
            _lost.pop(thread, None)
        else:
            _lost[thread] = outer
        if not _lost and sys.unraisablehook is _hook:
            sys.unraisablehook = _previous_hook


def _hook(unraisable: Any) -> None:
    lost = _lost.get(threading.get_ident())
    is_of_callback = unraisable.exc_value is not None and _MARK in (unraisable.err_msg or "")
    if lost is not None and is_of_callback and _runs_a_step(sys._getframe(1)):
        lost.append(unraisable.exc_value)
    else:
        _previous_hook(unraisable)


def _runs_a_step(frame: FrameType | None) -> bool:
    """Return True if this frame, or one that called it, is `run_with_callbacks`."""
    while frame is not None:
        if frame.f_code is run_with_callbacks.__code__:
            return True
        frame = frame.f_back
    return False


def _reset_after_fork() -> None:
    """Forget the other threads, which do not exist in the child."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    own = _lost.get(threading.get_ident())
    _lost.clear()
    if own is not None:
        _lost[threading.get_ident()] = own
    elif sys.unraisablehook is _hook:
        sys.unraisablehook = _previous_hook


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
