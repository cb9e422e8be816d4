"""A cache of SCRAM keys, so that a pool's next connection needs no PBKDF2."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._native import functions
from ..tls.bounded_cache import BoundedCache

if TYPE_CHECKING:
    from ..protocol.requests import Derive, ScramKeys


_CAPACITY = 256


class KeyCache:
    """SCRAM keys by password, salt and iteration count: bounded, in memory, for this process only.

    The password is not stored. The index holds its HMAC-SHA-256, whose key is random and exists only in memory.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._secret = os.urandom(32)
        self._keys: BoundedCache[tuple[bytes, bytes, int], ScramKeys] = BoundedCache(capacity)

    def get(self, request: Derive) -> ScramKeys | None:
        """Return the keys if they were derived before."""
        return self._keys.get(self._index(request))

    def put(self, request: Derive, keys: ScramKeys) -> None:
        """Store the keys. If the cache is full, remove the least recently used ones."""
        self._keys.put(self._index(request), keys)

    def clear(self) -> None:
        """Remove all keys."""
        self._keys.clear()

    def _index(self, request: Derive) -> tuple[bytes, bytes, int]:
        return functions.hmac_sha256(self._secret, request.password), request.salt, request.iterations


key_cache = KeyCache()
