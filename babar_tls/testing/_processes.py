"""Running PostgreSQL's programs: as whom, with what environment, and what happens when this process dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_SOCKET_PATH_LIMIT = 103  # bytes; sun_path holds 104 with its NUL on macOS and the BSDs, 108 on Linux
_REAPER_SCRIPT = Path(__file__).with_name("_reaper.py")


@dataclass(frozen=True)
class Account:
    """The account that a process drops to."""

    name: str
    uid: int
    gid: int

    def popen_options(self) -> dict[str, Any]:
        """Arguments for `subprocess.Popen`."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_reach(self, path: Path) -> bool:
        """Whether this account may read `path` (and enter it, if it is a folder), judging by permission bits."""
        resolved = path.resolve()
        wanted = 0o5 if resolved.is_dir() else 0o4
        return self._may(resolved, wanted) and all(self._may(parent, 0o1) for parent in resolved.parents)

    def can_enter(self, folder: Path) -> bool:
        """Whether this account may use what is in `folder`, provided that it may use the thing itself."""
        resolved = folder.resolve()
        return all(self._may(parent, 0o1) for parent in (resolved, *resolved.parents))

    def _may(self, path: Path, wanted: int) -> bool:
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return (status.st_mode >> shift) & wanted == wanted


def unprivileged_account() -> Account | None:
    """The account to run PostgreSQL under, which refuses to be root; `None` where we are not root ourselves.

    Raises:
        LookupError: We are root and there is neither a `postgres` account nor a `nobody`.
    """
    if os.name == "nt" or os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - POSIX only

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise LookupError("no account named 'postgres' or 'nobody' to run PostgreSQL under instead of root")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without what would make PostgreSQL or OpenSSL behave in some special way, in the C locale."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG", "OPENSSL_", "SSL_", "SSLKEYLOGFILE"))
    }
    return {**ours, "LC_ALL": "C", **(extra or {})}


def make_temporary_folder(prefix: str, account: Account | None, *, room: int = 0) -> Path:
    """A new folder that everybody can enter and only we can write to.

    It is made in the usual place for temporary files, or in ``/tmp`` where that is out of the account's reach or has
    so long a name that no Unix socket fits in.

    Args:
        prefix: The start of its name.
        account: Who must be able to enter it, ourselves apart.
        room: How many bytes must be left for a path within it to be a socket's name.
    """
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - mkdtemp makes the name safe
        length = len(os.fsencode(parent / prefix)) + 8 + room
        if length <= _SOCKET_PATH_LIMIT and (account is None or account.can_enter(parent)):
            break
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    folder.chmod(0o755)
    return folder


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait: between a process's birth and its being known to us, an interrupt would orphan it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    waiting: list[tuple[int, Any]] = []
    before = signal.signal(signal.SIGINT, lambda *interrupt: waiting.append(interrupt))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting and callable(before):
        before(*waiting[0])


class Reaper:
    """A process of its own that clears up when this one is gone, even by SIGKILL.

    Args:
        folder: The folder to remove then.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-I", "-S", str(_REAPER_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,  # Ctrl-C in the terminal is for the parent, not for its undertaker
        )
        self._tell(f"folder {folder}")

    def watch(self, pid: int) -> None:
        """Has this process stopped as well; it replaces the one named before."""
        self._tell(f"process {pid}")

    def dismiss(self) -> None:
        """Everything is cleared up already: ends the process and collects it."""
        self._tell("dismiss")
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        # A broken pipe means that somebody killed it; the normal way of clearing up works without.
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line.encode() + b"\n")
