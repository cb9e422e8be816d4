"""The functions of the helper, implemented with hashlib and hmac, if it was not built or is slower."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

IMPLEMENTATION = "hashlib"
SALTED_PASSWORD_LENGTH = 32

_UNMEASURED_ITERATIONS = 50_000  # about 10 ms, for which no estimate is needed
_SAMPLE_ITERATIONS = 2_000


def pbkdf2_hmac_sha256(
    password: bytes,
    salt: bytes,
    iterations: int,
    *,
    seconds: float | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> bytes | None:
    """Return one block of PBKDF2-HMAC-SHA-256, or None if it would take longer than `seconds`.

    OpenSSL's PBKDF2 cannot be interrupted. For a large count the time is therefore estimated from a small count before.
    `cancelled` is called once.
    """
    if seconds is not None and iterations > _UNMEASURED_ITERATIONS:
        started = time.perf_counter()
        hashlib.pbkdf2_hmac("sha256", password, salt, _SAMPLE_ITERATIONS)
        if (time.perf_counter() - started) * iterations / _SAMPLE_ITERATIONS > seconds:
            return None
    if cancelled is not None and cancelled():
        return None
    return hashlib.pbkdf2_hmac("sha256", password, salt, iterations)


def pbkdf2_hmac_sha256_many(jobs: Sequence[tuple[bytes, bytes, int]]) -> list[bytes]:
    """Return the results of many derivations, which run one after the other."""
    return [hashlib.pbkdf2_hmac("sha256", password, salt, iterations) for password, salt, iterations in jobs]


def scram_keys(salted_password: bytes) -> tuple[bytes, bytes, bytes]:
    """Return ClientKey, StoredKey and ServerKey (RFC 5802 §3) of a SaltedPassword."""
    if len(salted_password) != SALTED_PASSWORD_LENGTH:
        raise ValueError(f"a SaltedPassword has {SALTED_PASSWORD_LENGTH} bytes, not {len(salted_password)}")
    client_key = hmac_sha256(salted_password, b"Client Key")
    return client_key, hashlib.sha256(client_key).digest(), hmac_sha256(salted_password, b"Server Key")


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return HMAC-SHA-256 (RFC 2104)."""
    return hmac.digest(key, message, "sha256")
