"""The primitives behind SCRAM and channel binding, for people who need them alone.

Everything here is a function of its arguments; nothing is cached and nothing is kept.
"""

from __future__ import annotations

import base64
import hashlib
import os
import time

from .errors import ConfigError, TimeoutError
from .protocol.channel_binding import tls_server_end_point
from .protocol.requests import ScramKeys
from .protocol.saslprep import saslprep
from .protocol.scram import SCRAM_SHA_256, keys_from_salted_password

__all__ = [
    "ScramKeys",
    "implementation",
    "pbkdf2_hmac_sha256",
    "saslprep",
    "scram_keys",
    "scram_verifier",
    "tls_server_end_point",
]

_SALT_BYTES = 16  # as PostgreSQL's own verifiers
_MAX_ITERATIONS = (1 << 31) - 1
_UNMEASURED_ITERATIONS = 50_000  # some 10 ms: not worth a look at the clock
_SAMPLE_ITERATIONS = 2_000


def implementation() -> str:
    """What computes PBKDF2 here: ``hashlib``, the OpenSSL of this Python."""
    return "hashlib"


def pbkdf2_hmac_sha256(password: bytes, salt: bytes, iterations: int) -> bytes:
    """One block of PBKDF2-HMAC-SHA-256 (RFC 8018 §5.2): 32 bytes.

    Raises:
        ConfigError: `iterations` is not between 1 and 2³¹ - 1.
    """
    if not 1 <= iterations <= _MAX_ITERATIONS:
        raise ConfigError(f"PBKDF2 iterations must be between 1 and {_MAX_ITERATIONS}, not {iterations}")
    return hashlib.pbkdf2_hmac("sha256", password, salt, iterations)


def scram_keys(password: str | bytes, salt: bytes, iterations: int) -> ScramKeys:
    """ClientKey, StoredKey and ServerKey of a password (RFC 5802 §3), which goes through SASLprep first.

    Raises:
        ConfigError: `iterations` is out of range.
    """
    return keys_from_salted_password(pbkdf2_hmac_sha256(saslprep(password), salt, iterations))


def scram_verifier(password: str | bytes, *, salt: bytes | None = None, iterations: int = 4096) -> str:
    """What PostgreSQL keeps in place of a password: ``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``.

    Args:
        password: The password.
        salt: By default 16 random bytes.
        iterations: PBKDF2 iterations.

    Raises:
        ConfigError: The password is empty, or `iterations` is out of range.
    """
    if not password:
        raise ConfigError("an empty password has no verifier: PostgreSQL would never let anybody in with it")
    salt = os.urandom(_SALT_BYTES) if salt is None else salt
    keys = scram_keys(password, salt, iterations)
    encoded = [base64.b64encode(part).decode() for part in (salt, keys.stored_key, keys.server_key)]
    return f"{SCRAM_SHA_256}${iterations}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def derive_within(password: bytes, salt: bytes, iterations: int, seconds: float | None) -> ScramKeys:
    """Derive keys from a prepared password unless that would take longer than `seconds`.

    A PBKDF2 that runs in OpenSSL cannot be stopped half-way, and a hostile server chooses the iterations. So a large
    count is first measured on a small one.

    Raises:
        TimeoutError: It would take too long.
    """
    if seconds is not None and iterations > _UNMEASURED_ITERATIONS:
        started = time.perf_counter()
        pbkdf2_hmac_sha256(password, salt, _SAMPLE_ITERATIONS)
        expected = (time.perf_counter() - started) * iterations / _SAMPLE_ITERATIONS
        if expected > seconds:
            raise TimeoutError(
                f"timeout expired: the server asks for {iterations} PBKDF2 iterations, about {expected:.1f} s of "
                f"work, and {max(seconds, 0):.1f} s are left",
                remedy="Lower the role's scram_iterations, or raise connect_timeout.",
            )
    return keys_from_salted_password(pbkdf2_hmac_sha256(password, salt, iterations))
