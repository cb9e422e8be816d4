"""Stamps of files, and of the files that were really read while a context was built.

A stamp identifies a file and its content: device, inode, size, times of modification and change, mode, owner. A path
may lead to another file for a moment while a context is built, and back. So what is read for a context is read with
`read_file`, which records the stamp of the file that it has open; `ContextCache` compares.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from stat import S_ISLNK
from typing import TYPE_CHECKING

from ..config.files import read_regular

if TYPE_CHECKING:
    import os
    from collections.abc import Hashable, Iterator


_MAX_LINKS = 40  # as many as Linux follows
_reads: ContextVar[set[Hashable] | None] = ContextVar("reads", default=None)


def stamp(path: str, status: os.stat_result) -> Hashable:
    """Return the stamp of the file that `path` led to when `status` was read."""
    times = status.st_mtime_ns, status.st_ctime_ns  # an owner can set the first, but not the second
    return path, status.st_dev, status.st_ino, status.st_size, times, status.st_mode, status.st_uid


def read_file(path: str, limit: int) -> tuple[bytes, os.stat_result]:
    """Read a regular file that a context is made from, as `read_regular` does, and record its stamp."""
    data, status = read_regular(path, limit)
    note_read(stamp(path, status))
    return data, status


def note_read(identity: Hashable) -> None:
    """Record what identifies a file that a context uses."""
    reads = _reads.get()
    if reads is not None:
        reads.add(identity)


@contextmanager
def recorded_reads() -> Iterator[set[Hashable]]:
    """Collect the stamps of what is read inside the ``with``, in this thread."""
    reads: set[Hashable] = set()
    token = _reads.set(reads)
    try:
        yield reads
    finally:
        _reads.reset(token)


def link_stamps(path: str) -> Iterator[Hashable]:
    """Return the stamps of the symbolic links on the way from `path` to its file."""
    for _ in range(_MAX_LINKS):
        place = Path(path)
        for part in (place, *place.parents):
            try:
                status = part.lstat()
            except (OSError, ValueError):
                continue
            if S_ISLNK(status.st_mode):
                yield stamp(str(part), status)
        try:
            path = str(place.parent / place.readlink())
        except (OSError, ValueError):
            return
