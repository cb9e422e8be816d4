"""Runs a function in a child process with a time limit, and reports where it hangs."""

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


_TO_DUMP = 5.0  # seconds
_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')
_SHOWN = 4  # lines of a stack


class ChildEnd(NamedTuple):
    """How a child process has ended.

    Attributes:
        status: Its exit status, or the number of the signal that ended it, negated.
        problem: Where it hung, or which signal ended it where; empty if it has ended by itself.
    """

    status: int
    problem: str


def run_in_child(function: Callable[[], int], timeout: float) -> ChildEnd:
    """Run a function in a fork of this process. What it returns is the exit status.

    A child that hangs is ended by a signal, at which faulthandler writes its stacks: also where it loops in C with the
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
                process.join(_TO_DUMP)
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
        gc.freeze()  # the caller's objects are not looked at, and so not copied
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # which ends the process after the stacks are written
        faulthandler.enable(stacks)
        faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True, chain=True)
        status = function()
    finally:
        os._exit(status)


def _where(stacks: str) -> str:
    """Return the innermost lines of each thread, outermost first, from what faulthandler has written."""
    shown = []
    for thread in re.split(r"^(?:Current t|T)hread .*$", stacks, flags=re.MULTILINE)[1:]:
        frames = [_FRAME.fullmatch(line) for line in thread.splitlines()]
        lines = [f"{Path(frame[1]).name}:{frame[2]} {frame[3]}" for frame in frames if frame is not None]
        shown.append(" > ".join(reversed(lines[:_SHOWN])))
    return "; ".join(filter(None, shown)) or "an unknown place"
