"""Files that a configuration names: read whole or not at all, and never waited for."""

from __future__ import annotations

import os
import stat

_CHUNK = 1 << 18
_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)


class NotRegularError(ValueError):
    """It is a pipe, a device, a directory: something that may have no end, or may not be there yet."""

    def __init__(self) -> None:
        super().__init__("it is not a regular file")


def read_regular(path: str, limit: int) -> tuple[bytes, os.stat_result]:
    """The content of a regular file, and what was known of that very file when it was opened.

    Args:
        path: The file.
        limit: How many bytes it may have.

    Raises:
        NotRegularError: It is something else.
        ValueError: It is too large, or nothing can have such a name.
        OSError: It cannot be read.
    """
    # Opening a device may have an effect, so it is not opened if that can be avoided.
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - it raises what open would raise
        raise NotRegularError
    # The path may lead elsewhere by now. Without O_NONBLOCK opening a pipe would wait for whoever writes to it.
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularError
        data = bytearray()
        # What the status says is no limit: the file may grow, and those of /proc have no size.
        while status.st_size <= limit and (chunk := os.read(descriptor, _CHUNK)):
            data += chunk
            if len(data) > limit:
                break
    finally:
        os.close(descriptor)
    if max(status.st_size, len(data)) > limit:
        raise ValueError("it is too large")
    return bytes(data), status
