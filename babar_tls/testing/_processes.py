"""The accounts, environments and temporary folders that server processes run with."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import shutil
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
    """The unprivileged account that a server runs under if this process is root."""

    name: str
    uid: int
    gid: int

    def popen_options(self) -> dict[str, Any]:
        """Return the arguments for `subprocess.Popen`."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_reach(self, path: Path) -> bool:
        """Return True if the permission bits let this account read `path`, and enter it if it is a folder."""
        resolved = path.resolve()
        needed = 0o5 if resolved.is_dir() else 0o4
        return self._may(resolved, needed) and all(self._may(parent, 0o1) for parent in resolved.parents)

    def can_enter(self, folder: Path) -> bool:
        """Return True if the permission bits let this account enter `folder`."""
        resolved = folder.resolve()
        return all(self._may(parent, 0o1) for parent in (resolved, *resolved.parents))

    def _may(self, path: Path, needed: int) -> bool:
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return (status.st_mode >> shift) & needed == needed


def unprivileged_account() -> Account | None:
    """Return the account to run PostgreSQL under, or `None` if this process is not root.

    Raises:
        LookupError: This process is root, and the system has neither an account `postgres` nor `nobody`.
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
    raise LookupError("PostgreSQL does not run as root, and the system has no account named 'postgres' or 'nobody'")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment in the C locale, without variables that configure PostgreSQL or OpenSSL."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG", "OPENSSL_", "SSL_", "SSLKEYLOGFILE"))
    }
    return {**inherited, "LC_ALL": "C", **(extra or {})}


@functools.cache
def program_version(program: str) -> str:
    """Return the version that a program prints, for example ``17.10``."""
    command = [program, "--version"]
    output = subprocess.run(  # noqa: S603 - the caller chose the program
        command, capture_output=True, text=True, check=True, env=clean_environment()
    )
    match = re.search(r"\d\S*", output.stdout)
    return match[0] if match else output.stdout.strip()


def write_file(path: Path, data: bytes, account: Account | None) -> None:
    """Replace a file atomically; only the server's account can read it."""
    scratch = path.with_name(path.name + ".new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if account is not None:
            os.chown(scratch, account.uid, account.gid)
        file.write(data)
    scratch.replace(path)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C until the block ends, because a child process that is not yet recorded would keep running."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    delayed: list[tuple[int, Any]] = []
    before = signal.signal(signal.SIGINT, lambda *interrupt: delayed.append(interrupt))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if delayed and callable(before):
        before(*delayed[0])


class ReapedFolder:
    """A temporary folder that all accounts can enter and only this process can write to.

    `remove` removes it, at the latest when the interpreter exits. If this process dies before that, even by SIGKILL, a
    separate process (`_reaper`) stops the watched process and removes the folder.

    The folder is in the directory for temporary files, or in ``/tmp`` if the account cannot enter that directory or
    the path would be too long for a Unix socket.

    Args:
        prefix: The start of the folder's name.
        account: The account that must be able to enter it; `None` for that of this process.
        socket_name: The longest relative path of a Unix socket in the folder.

    Raises:
        OSError: The folder or the reaper cannot be created.
    """

    def __init__(self, prefix: str, account: Account | None, *, socket_name: str = "") -> None:
        for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - mkdtemp makes the name safe
            length = len(os.fsencode(parent / prefix)) + 8 + len(socket_name)
            if length <= _SOCKET_PATH_LIMIT and (account is None or account.can_enter(parent)):
                break
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        self.path.chmod(0o755)
        self._owner = os.getpid()
        try:
            self._reaper = subprocess.Popen(  # noqa: S603 - a script of this package
                [sys.executable, "-I", "-S", str(_REAPER_SCRIPT), str(self.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal must not end the reaper
            )
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        atexit.register(self.remove)

    @property
    def is_owned(self) -> bool:
        """True in the process that created the folder, False in its forked children."""
        return os.getpid() == self._owner

    def watch(self, pid: int) -> None:
        """Make the reaper stop the process `pid` too; replaces the process of an earlier call."""
        # A broken pipe means that the reaper was killed. `remove` works without it.
        if self._reaper.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._reaper.stdin.write(b"%d\n" % pid)

    def remove(self) -> None:
        """Remove the folder and end the reaper; does nothing in a forked child."""
        if not self.is_owned:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self._reaper.communicate(b"dismiss\n")
        atexit.unregister(self.remove)
