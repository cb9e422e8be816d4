"""Read the files that a configuration names, completely and without blocking."""

from __future__ import annotations

import os
import stat

_CHUNK = 1 << 18
_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)


class NotRegularError(ValueError):
    """The file is not a regular file: reading a pipe or a device may block or never end."""

    def __init__(self) -> None:
        super().__init__("it is not a regular file")


def read_regular(path: str, limit: int) -> tuple[bytes, os.stat_result]:
    """Return the content of a regular file, and its status at the time when it was opened.

    Args:
        path: The file.
        limit: The largest size in bytes.

    Raises:
        NotRegularError: The path does not lead to a regular file.
        ValueError: The file is too large, or the path is not a valid file name.
        OSError: The file cannot be read.
    """
    # Opening a device may have side effects, so the type is also checked before opening.
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - it raises the same errors as os.open
        raise NotRegularError
    # The file may have been replaced since the check. Without O_NONBLOCK, opening a pipe waits for its other end.
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularError
        data = bytearray()
        # The size in the status is not sufficient: the file may grow, and files of /proc have the size 0.
        while status.st_size <= limit and (chunk := os.read(descriptor, _CHUNK)):
            data += chunk
            if len(data) > limit:
                break
    finally:
        os.close(descriptor)
    if max(status.st_size, len(data)) > limit:
        raise ValueError("it is too large")
    return bytes(data), status
