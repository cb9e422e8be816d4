"""The file of TLS secrets for Wireshark (``SSLKEYLOGFILE``, in the format of NSS)."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .file_stamps import note_read
from .memory_files import file_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator


_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT
# O_NONBLOCK: do not wait for the reader of a pipe. O_NOFOLLOW: another user with write access to the directory could
# otherwise redirect the secrets to another file.
for _name in ("O_NONBLOCK", "O_NOFOLLOW", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)
_MODE = 0o600
_ROOT = 0  # root can read every file anyway
_NOT_REGULAR = "it is not a regular file"


def prepare_key_log(path: str | None) -> Hashable:
    """Create the file if it is missing, check its permissions, and return its identity.

    If the identity changes, the file was removed or rotated. A TLS library that keeps the file open must open it again.

    Raises:
        ConfigError: The file cannot be written, is not a regular file, or is accessible to other users.
    """
    if path is None:
        return None
    with _open(path) as descriptor:
        return _identity(os.fstat(descriptor))


@contextmanager
def open_key_log(path: str) -> Iterator[str]:
    """Yield a path of the key log for a TLS library that opens it itself.

    If the system exposes descriptors as paths, the path is that of the checked file, even if `path` has changed.

    Raises:
        ConfigError: See `prepare_key_log`.
    """
    with _open(path) as descriptor:
        note_read(_identity(os.fstat(descriptor)))
        shown = f"/proc/self/fd/{descriptor}"
        try:
            yield shown if os.path.exists(shown) else path  # noqa: PTH110 - paths are strings here
        except OSError as exc:  # the library opens it again: a umask may have denied even the owner that
            raise _unusable(path, exc.strerror or str(exc)) from exc


def append_line(path: str, line: bytes) -> None:
    """Append one line with one write, so that lines of several processes do not mix.

    A line that cannot be written is lost and the connection continues, because the log is only for debugging.
    """
    with suppress(ConfigError, OSError), _open(path) as descriptor:
        os.write(descriptor, line + b"\n")


@contextmanager
def _open(path: str) -> Iterator[int]:
    """Open the log to append to it. The checks are made on the open file, not on the path."""
    try:
        descriptor = os.open(path, _FLAGS, _MODE)
    except (OSError, ValueError) as exc:
        number = getattr(exc, "errno", None)
        if number == errno.ENXIO:  # a pipe without a reader, or a socket
            raise _unusable(path, _NOT_REGULAR) from exc
        if number in (errno.ELOOP, errno.EMLINK) and Path(path).is_symlink():
            raise _unusable(path, _NOT_REGULAR, "It is a symbolic link. Set tls_key_log_path to its target.") from exc
        raise _unusable(path, getattr(exc, "strerror", None) or str(exc)) from exc
    try:
        _check(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _check(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _unusable(path, _NOT_REGULAR)
    if os.name == "nt":
        return
    if status.st_uid not in (os.geteuid(), _ROOT):
        raise _unusable(path, "it belongs to another user", "Remove it, or set tls_key_log_path to another file.")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _unusable(path, "it has group or world access", f"chmod 600 {path}")


def _identity(status: os.stat_result) -> Hashable:
    return status.st_dev, status.st_ino


class KeyLogSpool:
    """A temporary file for a TLS library that writes lines in pieces. `close` appends complete lines to the log.

    Attributes:
        path: The path for the TLS library. The file is in memory if the system supports that.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._stack = ExitStack()
        self._closed = False
        self.path = self._stack.enter_context(file_of(b""))

    def close(self) -> None:
        """Append the lines to the log, and remove the file. Further calls have no effect."""
        if self._closed:  # the path may be that of another file now
            return
        self._closed = True
        with self._stack:
            lines = Path(self.path).read_bytes().splitlines()
        for line in lines:
            append_line(self._log, line)


def _unusable(path: str, why: str, remedy: str | None = None) -> ConfigError:
    return ConfigError(f'could not open SSL key logging file "{path}": {why}', remedy=remedy)
