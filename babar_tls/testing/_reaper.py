"""The process that stops a server and removes its folder if the process that started the server dies.

It runs as a script with only the standard library: ``python _reaper.py FOLDER``. Its standard input is a pipe from the
process that started it, which sends lines:

``PID``
    The process (the leader of a process group) to stop; replaces an earlier one.
``dismiss``
    The parent has removed the folder itself; exit.

An end of file without ``dismiss`` means that the parent died.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

_TIMEOUT = 8.0  # seconds; a postmaster that got SIGQUIT waits five seconds before it kills its children


def is_alive(pid: int) -> bool:
    """Return True if the process has not ended; a zombie has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # An orphan stays a zombie until init reaps it. In many containers init never does.
        state = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state != "Z"


def _stop(pid: int) -> None:
    # The process group of initdb includes its children. The children of PostgreSQL have left its group.
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGQUIT)  # PostgreSQL's immediate shutdown
        deadline = time.monotonic() + _TIMEOUT
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        if is_alive(pid):
            os.killpg(pid, signal.SIGKILL)


def _remove(folder: str) -> None:
    # A process that is being stopped may still create files in the folder, so removing it can take several attempts.
    deadline = time.monotonic() + _TIMEOUT
    while Path(folder).exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def main() -> None:
    """Wait until the parent dismisses this process or dies."""
    process: int | None = None
    for line in sys.stdin:
        if line == "dismiss\n":
            return
        process = int(line)
    if process is not None:
        _stop(process)
    _remove(sys.argv[1])


if __name__ == "__main__":
    main()
