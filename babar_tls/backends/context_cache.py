"""Engine contexts by what they were made from.

Building a context reads and parses every root, some 20 ms with a distribution's bundle; a connection needs it in
microseconds. A context is found again by its `TlsParameters` and the *stamps* (device, inode, size, times of
modification and change, mode, owner) of the files behind it, so that a rotated file is noticed at the next connection.

OpenSSL reads the files of a hashed directory when it needs them, and keeps them. There may be hundreds: they are
stamped once a second at most, and when the directory itself has changed.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from stat import S_ISDIR
from time import monotonic
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from .base import TlsParameters

_C = TypeVar("_C")
_CAPACITY = 32
_FOLDER_AGE = 1.0  # seconds
_HASHED = re.compile(r"[0-9a-fA-F]{8}\.r?[0-9]+")


class _Folder(NamedTuple):
    """What was in a directory: when that was, its own stamp, its files' stamps, and what stands for these in a key."""

    time: float
    own: Hashable
    files: tuple[Hashable, ...]
    token: object


class ContextCache(Generic[_C]):
    """A bounded, thread-safe cache: the least recently used context goes first.

    Args:
        build: Makes a context; called without the lock, and perhaps twice for the same parameters.
        files: The files, and the hashed directories, that a context of these parameters is made from.
    """

    def __init__(
        self, build: Callable[[TlsParameters], _C], files: Callable[[TlsParameters], Iterable[str | None]]
    ) -> None:
        self._build = build
        self._files = files
        self._lock = threading.Lock()
        self._contexts: OrderedDict[Hashable, _C] = OrderedDict()
        self._folders: dict[str, _Folder] = {}
        if hasattr(os, "register_at_fork"):
            # Another thread may hold the lock at that moment, and in the child it would hold it for ever.
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def get(self, parameters: TlsParameters, extra: Hashable = None) -> _C:
        """The context for `parameters` as their files are now; `extra` is what else it must have been made with."""
        key = (parameters, extra, tuple(self._stamp(path) for path in self._files(parameters) if path is not None))
        with self._lock:
            context = self._contexts.get(key)
            if context is not None:
                self._contexts.move_to_end(key)
                return context
        context = self._build(parameters)
        with self._lock:
            self._contexts[key] = context
            while len(self._contexts) > _CAPACITY:
                self._contexts.popitem(last=False)
        return context

    def _stamp(self, path: str) -> Hashable:
        status = _status(path)
        if status is None:
            return path
        stamp = _of(path, status)
        return (stamp, self._folder(path, stamp).token) if S_ISDIR(status.st_mode) else stamp

    def _folder(self, path: str, own: Hashable) -> _Folder:
        now = monotonic()
        known = self._folders.get(path)
        if known is not None and known.own == own and now - known.time < _FOLDER_AGE:
            return known
        files = tuple(_hashed_files(path))
        token = known.token if known is not None and known.files == files else object()
        with self._lock:
            if path not in self._folders and len(self._folders) >= _CAPACITY:
                self._folders.clear()
            found = self._folders[path] = _Folder(now, own, files, token)
        return found


def _hashed_files(folder: str) -> Iterator[Hashable]:
    """The stamps of what OpenSSL may read in a hashed directory (``openssl rehash``)."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - paths are strings here
    except OSError:
        return
    for name in sorted(names):
        if _HASHED.fullmatch(name):
            path = os.path.join(folder, name)  # noqa: PTH118
            status = _status(path)
            yield path if status is None else _of(path, status)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - Path would cost more than the look-up saves
    except (OSError, ValueError):
        return None


def _of(path: str, status: os.stat_result) -> Hashable:
    times = status.st_mtime_ns, status.st_ctime_ns  # an owner can set the first, nobody the second
    return path, status.st_dev, status.st_ino, status.st_size, times, status.st_mode, status.st_uid
