"""A bounded, thread-safe cache whose entries can expire. It remains usable in a forked child."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from time import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable


_K = TypeVar("_K", bound="Hashable")
_V = TypeVar("_V")


class BoundedCache(Generic[_K, _V]):
    """Values by key, in memory. The least recently used value is removed first.

    Args:
        capacity: The maximum number of values.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lock = threading.Lock()
        self._entries: OrderedDict[_K, tuple[_V, float | None]] = OrderedDict()
        _caches.add(self)

    def __len__(self) -> int:
        """Return the number of entries, including expired entries that have not been looked up since they expired."""
        return len(self._entries)

    def get(self, key: _K) -> _V | None:
        """Return the value of a key, or None if it is missing or has expired."""
        if not self._entries:
            return None  # avoids computing the hash, which is slow for large keys
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            value, until = entry
            if until is not None and until <= time():
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return value

    def put(self, key: _K, value: _V, until: float | None = None) -> None:
        """Store a value. Remove the least recently used value if the cache is full.

        Args:
            key: The key.
            value: The value, which must not be None.
            until: The time at which it expires (`time.time`), or None.
        """
        with self._lock:
            self._entries[key] = value, until
            self._entries.move_to_end(key)
            if len(self._entries) > self.capacity:
                self._entries.popitem(last=False)

    def remove(self, key: _K) -> None:
        """Remove the value of a key if it exists."""
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._entries.clear()

    def _reset_after_fork(self) -> None:
        """Replace the lock if a thread of the parent holds it, and copy the entries.

        That thread may have been changing the order of the entries, but each entry is always complete. The entries are
        kept, because otherwise each child would have to create its contexts and derive its keys again.
        """
        if self._lock.locked():
            self._lock = threading.Lock()
            self._entries = OrderedDict(dict.items(self._entries))


_caches: weakref.WeakSet[BoundedCache[Any, Any]] = weakref.WeakSet()


def _reset_all_after_fork() -> None:
    for cache in _caches:
        cache._reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all_after_fork)
