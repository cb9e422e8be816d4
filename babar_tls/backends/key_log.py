"""The file of TLS secrets that Wireshark reads (``SSLKEYLOGFILE``, NSS's format)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["append_line", "prepare_key_log"]

# Not to wait for a reader, if it is a pipe.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_MODE = 0o600


def prepare_key_log(path: str | None) -> Hashable:
    """Make sure that the file is there, for its owner's eyes alone if it is new; returns what identifies it.

    An engine that keeps the file open must open it again when the answer is another: it was removed or rotated.

    Raises:
        ConfigError: It cannot be written.
    """
    if path is None:
        return None
    try:
        descriptor = os.open(path, _FLAGS, _MODE)
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(f'could not open SSL key logging file "{path}": {why}') from exc
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
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
