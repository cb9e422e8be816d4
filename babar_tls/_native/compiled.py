"""The functions of the helper, implemented by the compiled extension.

Every call into C releases the GIL. Long computations run in slices of a few milliseconds. Between two slices deadline,
cancellation and Ctrl-C are checked. The secrets in C memory are wiped in every case.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ._babar_native import ffi, lib
from .fallback import SALTED_PASSWORD_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SLICE = 16_384  # iterations: one to five milliseconds
_HOPELESS = 1.5  # stop if the estimated time exceeds the remaining time by this factor
_BATCH = 96  # simultaneous derivations; a multiple of the lanes of every kernel

_HASH = "BABAR_HASH_"
#: hashlib's names of the hash functions: BABAR_HASH_SHA3_256 is sha3_256.
_HASHES = {getattr(lib, name): name.removeprefix(_HASH).lower() for name in dir(lib) if name.startswith(_HASH)}


def kernels() -> dict[str, bool]:
    """Return the kernels that were built, fastest first, each with True if this CPU supports it."""
    return {_text(lib.babar_kernel_name(i)): bool(lib.babar_kernel_capable(i)) for i in range(lib.babar_kernel_count())}


def select(name: str) -> bool:
    """Select a kernel. Return False if it does not exist or this CPU does not support it."""
    return bool(lib.babar_select(name.encode()) == 0)


def selected() -> str:
    """Return the name of the selected kernel."""
    return _text(lib.babar_selected())


def pbkdf2_hmac_sha256(
    password: bytes,
    salt: bytes,
    iterations: int,
    *,
    seconds: float | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> bytes | None:
    """Return one block of PBKDF2-HMAC-SHA-256, or None if it is cancelled or takes longer than `seconds`."""
    _check(iterations)
    started = time.monotonic()
    done = 0
    derivation = ffi.new("babar_pbkdf2 *")
    derived_key = ffi.new("uint8_t[32]")
    try:
        lib.babar_pbkdf2_begin(derivation, password, len(password), salt, len(salt), iterations)
        while remaining := lib.babar_pbkdf2_step(derivation, _SLICE):
            done += _SLICE
            if cancelled is not None and cancelled():
                return None
            if seconds is not None:
                spent = time.monotonic() - started
                if spent > seconds or spent / done * remaining > _HOPELESS * (seconds - spent):
                    return None
        lib.babar_pbkdf2_finish(derivation, derived_key)
        return bytes(ffi.buffer(derived_key))
    finally:
        lib.babar_wipe(derivation, ffi.sizeof("babar_pbkdf2"))
        lib.babar_wipe(derived_key, 32)


def pbkdf2_hmac_sha256_many(jobs: Sequence[tuple[bytes, bytes, int]]) -> list[bytes]:
    """Return the results of many derivations. The kernel interleaves several of them."""
    results: list[bytes] = []
    derivations = ffi.new("babar_pbkdf2[]", _BATCH)
    derived_key = ffi.new("uint8_t[32]")
    try:
        for start in range(0, len(jobs), _BATCH):
            batch = jobs[start : start + _BATCH]
            for i, (password, salt, iterations) in enumerate(batch):
                _check(iterations)
                lib.babar_pbkdf2_begin(derivations + i, password, len(password), salt, len(salt), iterations)
            while lib.babar_pbkdf2_step_many(derivations, len(batch), _SLICE):
                pass  # between two slices Python handles Ctrl-C
            for i in range(len(batch)):
                lib.babar_pbkdf2_finish(derivations + i, derived_key)
                results.append(bytes(ffi.buffer(derived_key)))
    finally:
        lib.babar_wipe(derivations, ffi.sizeof(derivations))
        lib.babar_wipe(derived_key, 32)
    return results


def scram_keys(salted_password: bytes) -> tuple[bytes, bytes, bytes]:
    """Return ClientKey, StoredKey and ServerKey (RFC 5802 §3) of a SaltedPassword.

    Raises:
        ValueError: The SaltedPassword does not have 32 bytes; C would read past its end.
    """
    if len(salted_password) != SALTED_PASSWORD_LENGTH:
        raise ValueError(f"a SaltedPassword has {SALTED_PASSWORD_LENGTH} bytes, not {len(salted_password)}")
    keys = ffi.new("uint8_t[96]")
    try:
        lib.babar_scram_keys(salted_password, keys)
        buffer = ffi.buffer(keys)
        return bytes(buffer[0:32]), bytes(buffer[32:64]), bytes(buffer[64:96])
    finally:
        lib.babar_wipe(keys, 96)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return HMAC-SHA-256 (RFC 2104). OpenSSL needs more time to look up the algorithm than this to compute it."""
    mac = ffi.new("uint8_t[32]")
    lib.babar_hmac_sha256(key, len(key), message, len(message), mac)
    return bytes(ffi.buffer(mac))


def end_point_hash(der: bytes) -> tuple[str | None, bytes | None]:
    """Return the hash function for the channel binding of a certificate, and the hash if the function is SHA-256.

    Returns:
        The name in hashlib and the digest; for other functions the name and `None`; without a function twice `None`.
    """
    digest = ffi.new("uint8_t[32]")
    code = lib.babar_end_point_hash(der, len(der), digest)
    if code == lib.BABAR_HASH_SHA256:
        return "sha256", bytes(ffi.buffer(digest))
    return _HASHES.get(code), None


def _check(iterations: int) -> None:
    if iterations < 1:
        raise ValueError("PBKDF2 has at least one iteration")  # as in hashlib


def _text(pointer: Any) -> str:
    text: bytes = ffi.string(pointer)
    return text.decode()
