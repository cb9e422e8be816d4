"""The helper's functions on the compiled extension.

Every call into C releases the GIL. Long work is done in slices of a few milliseconds, between which a deadline, a
cancellation or Ctrl-C is noticed, and what C held of a secret is wiped however it ends.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ._babar_native import ffi, lib
from .fallback import SALTED_PASSWORD_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SLICE = 16_384  # iterations: one to five milliseconds
_HOPELESS = 1.5  # times what is left: more work than that is not gone on with
_BATCH = 96  # derivations under way at once; a multiple of any kernel's lanes

_HASH = "BABAR_HASH_"
#: hashlib's names of the hash functions: BABAR_HASH_SHA3_256 is sha3_256.
_HASHES = {getattr(lib, name): name.removeprefix(_HASH).lower() for name in dir(lib) if name.startswith(_HASH)}


def kernels() -> dict[str, bool]:
    """Every kernel that was built, and whether this CPU can run it; the fastest first."""
    return {_text(lib.babar_kernel_name(i)): bool(lib.babar_kernel_capable(i)) for i in range(lib.babar_kernel_count())}


def select(name: str) -> bool:
    """Use this kernel from now on; `False` if there is none of the name, or this CPU cannot run it."""
    return bool(lib.babar_select(name.encode()) == 0)


def selected() -> str:
    """The kernel in use."""
    return _text(lib.babar_selected())


def pbkdf2_hmac_sha256(
    password: bytes,
    salt: bytes,
    iterations: int,
    *,
    seconds: float | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> bytes | None:
    """One block of PBKDF2-HMAC-SHA-256, or `None` if it is cancelled or cannot be done in `seconds`."""
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
    """Many derivations, as many side by side as the kernel interleaves."""
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
                pass  # back in Python for a moment: Ctrl-C
            for i in range(len(batch)):
                lib.babar_pbkdf2_finish(derivations + i, derived_key)
                results.append(bytes(ffi.buffer(derived_key)))
    finally:
        lib.babar_wipe(derivations, ffi.sizeof(derivations))
        lib.babar_wipe(derived_key, 32)
    return results


def scram_keys(salted_password: bytes) -> tuple[bytes, bytes, bytes]:
    """ClientKey, StoredKey and ServerKey (RFC 5802 §3) of a SaltedPassword, which has 32 bytes.

    Raises:
        ValueError: It has another length; C would read past its end.
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
    """HMAC-SHA-256 (RFC 2104); OpenSSL takes longer to look its own one up than this does to compute."""
    mac = ffi.new("uint8_t[32]")
    lib.babar_hmac_sha256(key, len(key), message, len(message), mac)
    return bytes(ffi.buffer(mac))


def end_point_hash(der: bytes) -> tuple[str | None, bytes | None]:
    """The hash function that a certificate binds with, and the hash where it is SHA-256.

    Returns:
        hashlib's name and the digest; the name and `None` for another function; twice `None` where there is none.
    """
    digest = ffi.new("uint8_t[32]")
    code = lib.babar_end_point_hash(der, len(der), digest)
    if code == lib.BABAR_HASH_SHA256:
        return "sha256", bytes(ffi.buffer(digest))
    return _HASHES.get(code), None


def _check(iterations: int) -> None:
    if iterations < 1:
        raise ValueError("PBKDF2 has at least one iteration")  # as hashlib does: the two are interchangeable


def _text(pointer: Any) -> str:
    text: bytes = ffi.string(pointer)
    return text.decode()
