"""Bytes under a path, for a TLS library that reads only files."""

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
    """Yield a path that holds `data` inside the ``with``.

    On Linux nothing touches a disk. Elsewhere it is a temporary file that only its owner can read.
    """
    descriptor = _in_memory()
    if descriptor is None:
        descriptor, path = tempfile.mkstemp(prefix="babar-tls-")  # with mode 0600
        temporary: str | None = path
    else:
        path, temporary = f"/proc/self/fd/{descriptor}", None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if temporary is None:
                yield path
        if temporary is not None:
            yield path
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _in_memory() -> int | None:
    """A descriptor of a file without a name, where the system has such and shows its descriptors as paths."""
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
