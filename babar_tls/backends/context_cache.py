"""Engine contexts by what they were made from.

Building a context reads and parses every root, some 20 ms with a distribution's bundle; a connection needs it in
microseconds. A context is found again by its `TlsParameters` and the *stamps* (inode, size, modification time, mode,
owner) of the files behind it, so that a rotated file is noticed at the next connection.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from .base import TlsParameters

_C = TypeVar("_C")
_CAPACITY = 32


class ContextCache(Generic[_C]):
    """A bounded, thread-safe cache: the least recently used context goes first.

    Args:
        build: Makes a context; called without the lock, and perhaps twice for the same parameters.
        files: The files that a context of these parameters is made from.
    """

    def __init__(
        self, build: Callable[[TlsParameters], _C], files: Callable[[TlsParameters], Iterable[str | None]]
    ) -> None:
        self._build = build
        self._files = files
        self._lock = threading.Lock()
        self._contexts: OrderedDict[Hashable, _C] = OrderedDict()
        if hasattr(os, "register_at_fork"):
            # Another thread may hold the lock at that moment, and in the child it would hold it for ever.
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def get(self, parameters: TlsParameters, extra: Hashable = None) -> _C:
        """The context for `parameters` as their files are now; `extra` is what else it must have been made with."""
        key = (parameters, extra, tuple(_stamp(path) for path in self._files(parameters) if path is not None))
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


def _stamp(path: str) -> Hashable:
    try:
        status = os.stat(path)  # noqa: PTH116 - Path would cost more than the look-up saves
    except OSError:
        return path
    return path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid
