"""The process that clears up after a parent that could not: run as a script, it needs the standard library alone.

It reads lines from standard input, the other end of which only the parent holds:

``folder PATH``
    Remove this folder in the end.
``process PID``
    Stop this process (and its process group) in the end. Replaces the process named before.
``dismiss``
    All is clean: go.

End of file without ``dismiss`` means that the parent is gone, whatever the way.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

_PATIENCE = 8.0  # seconds; on SIGQUIT a postmaster itself kills children that linger for five


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # An orphan's zombie stays for as long as init does not collect it: in many containers, for ever.
        state = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state != "Z"


def _stop(pid: int) -> None:
    # The process leads a group: that of initdb has its children in it, the server's has left it.
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGQUIT)  # PostgreSQL's immediate shutdown
        deadline = time.monotonic() + _PATIENCE
        while _alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        if _alive(pid):
            os.killpg(pid, signal.SIGKILL)


def _remove(folder: str) -> None:
    # What is being stopped may still create a file while its folder is being removed: once more, then.
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        if not Path(folder).exists():
            return
        time.sleep(0.05)


def main() -> None:
    """Remembers what it is told until the parent dismisses it or is gone."""
    folders: list[str] = []
    process: int | None = None
    for line in sys.stdin:
        word, _, argument = line.rstrip("\n").partition(" ")
        if word == "folder":
            folders.append(argument)
        elif word == "process":
            process = int(argument)
        elif word == "dismiss":
            return
    if process is not None:
        _stop(process)
    for folder in folders:
        _remove(folder)


if __name__ == "__main__":
    main()
