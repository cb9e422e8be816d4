"""The file of TLS secrets that Wireshark reads (``SSLKEYLOGFILE``, NSS's format)."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .memory_files import file_of

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["KeyLogSpool", "append_line", "prepare_key_log"]

# Not to wait for a reader, if it is a pipe.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_MODE = 0o600
_NOT_REGULAR = "it is not a regular file"


def prepare_key_log(path: str | None) -> Hashable:
    """Make sure that the file is there, for its owner's eyes alone if it is new; returns what identifies it.

    An engine that keeps the file open must open it again when the answer is another: it was removed or rotated.

    Raises:
        ConfigError: It cannot be written, or is a pipe or a device.
    """
    if path is None:
        return None
    try:
        descriptor = os.open(path, _FLAGS, _MODE)
    except (OSError, ValueError) as exc:
        if getattr(exc, "errno", None) == errno.ENXIO:  # a pipe that nobody reads, or a socket
            raise _unusable(path, _NOT_REGULAR) from exc
        raise _unusable(path, getattr(exc, "strerror", None) or str(exc)) from exc
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):  # an engine would open it without our flags, and wait
        raise _unusable(path, _NOT_REGULAR)
    return status.st_dev, status.st_ino


def append_line(path: str, line: bytes) -> None:
    """Append one line, whole, whoever else does the same.

    A line that cannot be written is lost, and the connection goes on: the log is for debugging it.
    """
    try:
        descriptor = os.open(path, _FLAGS, _MODE)
        try:
            os.write(descriptor, line + b"\n")
        finally:
            os.close(descriptor)
    except OSError:
        pass


class KeyLogSpool:
    """Where an engine that writes a line in pieces writes those of one connection, on their way to the log.

    Attributes:
        path: The file to give the engine. It is in memory where that can be had.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._stack = ExitStack()
        self._closed = False
        self.path = self._stack.enter_context(file_of(b""))

    def close(self) -> None:
        """Append what has come, line by line, and be gone. To be called again is harmless."""
        if self._closed:  # and the path may be another file's by now
            return
        self._closed = True
        with self._stack:
            lines = Path(self.path).read_bytes().splitlines()
        for line in lines:
            append_line(self._log, line)


def _unusable(path: str, why: str) -> ConfigError:
    return ConfigError(f'could not open SSL key logging file "{path}": {why}')
