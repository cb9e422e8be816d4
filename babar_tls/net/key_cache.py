"""A cache of SCRAM keys, so that a pool's next connection needs no PBKDF2."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from .._native import functions

if TYPE_CHECKING:
    from ..protocol.requests import Derive, ScramKeys

__all__ = ["KeyCache", "key_cache"]

_CAPACITY = 256


class KeyCache:
    """SCRAM keys by what they were derived from: bounded, in memory, for this process only.

    The password is not stored. The index holds its HMAC-SHA-256, whose key is a secret that is never written anywhere.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self.capacity = capacity
        self._secret = os.urandom(32)
        self._lock = threading.Lock()
        self._keys: OrderedDict[tuple[bytes, bytes, int], ScramKeys] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._keys)

    def get(self, request: Derive) -> ScramKeys | None:
        """Return the keys if they were derived before."""
        index = self._index(request)
        with self._lock:
            keys = self._keys.get(index)
            if keys is not None:
                self._keys.move_to_end(index)
            return keys

    def put(self, request: Derive, keys: ScramKeys) -> None:
        """Store the keys; the least recently used ones make room."""
        with self._lock:
            self._keys[self._index(request)] = keys
            while len(self._keys) > self.capacity:
                self._keys.popitem(last=False)

    def renew_lock(self) -> None:
        """Replace the lock, which another thread may have held when this process was forked."""
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Remove all keys."""
        with self._lock:
            self._keys.clear()

    def _index(self, request: Derive) -> tuple[bytes, bytes, int]:
        return functions.hmac_sha256(self._secret, request.password), request.salt, request.iterations


key_cache = KeyCache()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=key_cache.renew_lock)
