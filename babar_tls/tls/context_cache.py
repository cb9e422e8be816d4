"""Contexts of TLS libraries by what they were made from.

Building a context reads and parses every root, some 20 ms with a distribution's bundle; a connection needs it in
microseconds. A context is found again by its `TlsParameters` and the stamps (`file_stamps`) of the files behind it, so
that a rotated file is noticed at the next connection.

A context is stored only if its files were the same before and after it was built, and while it was. Otherwise it is
built again, a few times at most. If the files do not come to rest, the last context serves one connection and is not
stored: it may be made of old and new files, each of which was read whole.

There may be hundreds of files in a hashed directory: to find a context they are stamped once a second at most, and when
the directory itself has changed; to store one they are stamped again.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from stat import S_ISDIR
from time import monotonic
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from ..errors import ConfigError
from .file_stamps import link_stamps, recorded_reads, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from .contract import TlsParameters

_C = TypeVar("_C")
_CAPACITY = 32
_FOLDER_AGE = 1.0  # seconds
_ATTEMPTS = 3
_HASHED = re.compile(r"[0-9a-fA-F]{8}\.r?[0-9]+")


class _Folder(NamedTuple):
    """What is in a directory: when it was read, its own stamp, its files' stamps, and what stands for them in a key."""

    time: float
    own: Hashable
    files: tuple[Hashable, ...]
    token: object


class _Look(NamedTuple):
    """The files of a context as they were at one moment.

    Attributes:
        key: What stands for them in the key of a context.
        stamps: Every file's stamp, those in hashed directories included.
        links: The stamps of the symbolic links that lead to them.
    """

    key: tuple[Hashable, ...]
    stamps: frozenset[Hashable]
    links: tuple[Hashable, ...]


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
        """Return the context for `parameters` as their files are now.

        Args:
            parameters: What the context does.
            extra: What else it must have been made with: the identity of a file that is not stamped.
        """
        stamps = tuple(self._stamp(path, _FOLDER_AGE) for path in self._files(parameters) if path is not None)
        with self._lock:
            context = self._contexts.get((parameters, extra, stamps))
            if context is not None:
                self._contexts.move_to_end((parameters, extra, stamps))
                return context
        for attempt in range(_ATTEMPTS):
            before = self._look(parameters)
            with recorded_reads() as reads:
                try:
                    context = self._build(parameters)
                except ConfigError:
                    if attempt == _ATTEMPTS - 1 or self._look(parameters) == before:
                        raise
                    continue
            # What was read is compared too: a path may have led elsewhere in between, and back.
            if self._look(parameters) == before and reads <= before.stamps | {extra}:
                self._store((parameters, extra, before.key), context)
                break
        assert context is not None  # noqa: S101 - the last attempt raised otherwise
        return context

    def _store(self, key: Hashable, context: _C) -> None:
        with self._lock:
            self._contexts[key] = context
            while len(self._contexts) > _CAPACITY:
                self._contexts.popitem(last=False)

    def _look(self, parameters: TlsParameters) -> _Look:
        paths = [path for path in self._files(parameters) if path is not None]
        key = tuple(self._stamp(path, 0) for path in paths)
        folders = [self._folders.get(path) for path in paths]
        stamps = {*key, *(stamp for folder in folders if folder is not None for stamp in folder.files)}
        return _Look(key, frozenset(stamps), tuple(link for path in paths for link in link_stamps(path)))

    def _stamp(self, path: str, age: float) -> Hashable:
        status = _status(path)
        if status is None:
            return path
        found = stamp(path, status)
        return (found, self._folder(path, found, age).token) if S_ISDIR(status.st_mode) else found

    def _folder(self, path: str, own: Hashable, age: float) -> _Folder:
        now = monotonic()
        known = self._folders.get(path)
        if known is not None and known.own == own and now - known.time < age:
            return known
        files = tuple(_hashed_files(path))
        token = known.token if known is not None and known.files == files else object()
        with self._lock:
            if path not in self._folders and len(self._folders) >= _CAPACITY:
                self._folders.clear()
            found = self._folders[path] = _Folder(now, own, files, token)
        return found


def _hashed_files(folder: str) -> Iterator[Hashable]:
    """Return the stamps of what may be read in a hashed directory (``openssl rehash``)."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - paths are strings here
    except OSError:
        return
    for name in sorted(names):
        if _HASHED.fullmatch(name):
            path = os.path.join(folder, name)  # noqa: PTH118
            status = _status(path)
            yield path if status is None else stamp(path, status)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - Path would cost more than the look-up saves
    except (OSError, ValueError):
        return None
