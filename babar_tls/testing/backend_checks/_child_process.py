"""Run a function in a child process with a time limit, and report where it hangs."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import re
import signal
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO


_TIME_TO_DUMP = 5.0  # seconds
_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')
_SHOWN = 4  # frames of a stack


class ChildEnd(NamedTuple):
    """How a child process ended.

    Attributes:
        status: The exit status, or the negated number of the signal that ended the process.
        problem: The place where it hung, or the signal that ended it and the place; empty if it exited.
    """

    status: int
    problem: str


def run_in_child(function: Callable[[], int], timeout: float) -> ChildEnd:
    """Run a function in a fork of this process. The function returns the exit status.

    A child that hangs is ended by a signal. faulthandler writes its stacks then, even if it loops in C and holds the
    interpreter's lock.
    """
    with tempfile.TemporaryFile() as stacks, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of the caller are not used in the child
        process = multiprocessing.get_context("fork").Process(target=_child, args=(function, stacks))
        process.start()
        try:
            process.join(timeout)
            hangs = process.is_alive()
            if hangs and process.pid is not None:
                os.kill(process.pid, signal.SIGUSR1)
                process.join(_TIME_TO_DUMP)
        finally:
            process.kill()
            process.join()
        stacks.seek(0)
        where = _where(stacks.read().decode(errors="replace"))
    status = process.exitcode or 0
    if hangs:
        return ChildEnd(status, f"was not finished after {timeout:g} s: hangs in {where}")
    return ChildEnd(status, f"ended by {signal.Signals(-status).name} in {where}" if status < 0 else "")


def _child(function: Callable[[], int], stacks: IO[bytes]) -> None:
    status = 1
    try:
        gc.freeze()  # the collector does not touch the caller's objects, so their pages are not copied
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # ends the process after the stacks are written
        faulthandler.enable(stacks)
        faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True, chain=True)
        status = function()
    finally:
        os._exit(status)


def _where(stacks: str) -> str:
    """Return the innermost frames of each thread, outermost first, from the output of faulthandler."""
    shown = []
    for thread in re.split(r"^(?:Current t|T)hread .*$", stacks, flags=re.MULTILINE)[1:]:
        frames = [_FRAME.fullmatch(line) for line in thread.splitlines()]
        lines = [f"{Path(frame[1]).name}:{frame[2]} {frame[3]}" for frame in frames if frame is not None]
        shown.append(" > ".join(reversed(lines[:_SHOWN])))
    return "; ".join(filter(None, shown)) or "an unknown place"
