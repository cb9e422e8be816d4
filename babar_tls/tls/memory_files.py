"""Provide bytes as a file, for a TLS library that reads only files."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def file_of(data: bytes) -> Iterator[str]:
    """Yield the path of a file that contains `data` and exists inside the ``with``.

    On Linux the file is in memory. On other systems it is a temporary file that only its owner can read.
    """
    descriptor = _in_memory()
    if descriptor is not None:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    descriptor, path = tempfile.mkstemp(prefix="babar-tls-")  # with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        yield path
    finally:
        Path(path).unlink(missing_ok=True)


def _in_memory() -> int | None:
    """Return a descriptor of a file in memory, or None if the system cannot show it as a path."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        descriptor = os.memfd_create("babar-tls")
    except OSError:  # forbidden, in some sandboxes
        return None
    if Path(f"/proc/self/fd/{descriptor}").exists():
        return descriptor
    os.close(descriptor)
    return None
