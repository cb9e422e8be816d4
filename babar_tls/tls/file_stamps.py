"""Stamps of files, and a record of the files that were read while a context was built.

A stamp identifies a file and its content by device, inode, size, times of modification and change, mode and owner.
While a context is built, a path may lead to another file for a moment. `read_file` therefore records the stamp of the
file that it has open, and `ContextCache` compares the stamps.
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


_MAX_LINKS = 40  # the limit of Linux
_reads: ContextVar[set[Hashable] | None] = ContextVar("reads", default=None)


def stamp(path: str, status: os.stat_result) -> Hashable:
    """Return the stamp of the file at `path`, which had this status."""
    times = status.st_mtime_ns, status.st_ctime_ns  # the owner can set the first, but not the second
    return path, status.st_dev, status.st_ino, status.st_size, times, status.st_mode, status.st_uid


def read_file(path: str, limit: int) -> tuple[bytes, os.stat_result]:
    """Read a regular file as `read_regular` does, and record its stamp."""
    data, status = read_regular(path, limit)
    note_read(stamp(path, status))
    return data, status


def note_read(identity: Hashable) -> None:
    """Record the stamp of a file that a context uses."""
    reads = _reads.get()
    if reads is not None:
        reads.add(identity)


@contextmanager
def recorded_reads() -> Iterator[set[Hashable]]:
    """Yield a set. The stamps of all files that this thread reads inside the ``with`` are added to it."""
    reads: set[Hashable] = set()
    token = _reads.set(reads)
    try:
        yield reads
    finally:
        _reads.reset(token)


def link_stamps(path: str) -> Iterator[Hashable]:
    """Yield the stamps of the symbolic links between `path` and its file."""
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
