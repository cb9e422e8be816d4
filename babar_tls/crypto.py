"""The primitives of SCRAM and channel binding, for separate use.

Functions have no state and no cache. They use the compiled helper if it is available (see `implementation`), otherwise
hashlib.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

from . import _native
from .config.validation import as_bytes
from .diagnostics.tracebacks import clears_locals
from .errors import AuthError, ConfigError, TimeoutError
from .protocol import channel_binding
from .protocol.requests import ScramKeys
from .protocol.saslprep import saslprep
from .protocol.scram import SCRAM_SHA_256, keys_from_salted_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "ScramKeys",
    "implementation",
    "pbkdf2_hmac_sha256",
    "pbkdf2_hmac_sha256_many",
    "saslprep",
    "scram_keys",
    "scram_verifier",
    "scram_verifiers",
    "tls_server_end_point",
]

_SALT_BYTES = 16  # as in PostgreSQL's own verifiers
_MAX_ITERATIONS = (1 << 31) - 1


def implementation() -> str:
    """Return the implementation of PBKDF2: ``sha-ni``, ``armv8`` or ``portable`` in C, or ``hashlib`` (OpenSSL)."""
    return _native.IMPLEMENTATION


@clears_locals
def pbkdf2_hmac_sha256(password: bytes, salt: bytes, iterations: int) -> bytes:
    """Compute one block (32 bytes) of PBKDF2-HMAC-SHA-256 (RFC 8018 §5.2). The GIL is released meanwhile.

    Raises:
        ConfigError: `password` or `salt` is not bytes, or `iterations` is not between 1 and 2³¹ - 1.
    """
    _check_iterations(iterations)
    derived: bytes = _native.functions.pbkdf2_hmac_sha256(
        as_bytes("password", password), as_bytes("salt", salt), iterations
    )
    return derived


@clears_locals
def pbkdf2_hmac_sha256_many(jobs: Iterable[tuple[bytes, bytes, int]]) -> list[bytes]:
    """Compute independent derivations, several at a time if the CPU supports it. The GIL is released meanwhile.

    Args:
        jobs: Password, salt and iterations of each derivation; lengths and iterations may differ.

    Returns:
        The results of `pbkdf2_hmac_sha256`, in the same order.

    Raises:
        ConfigError: A password or salt is not bytes, or an iteration count is not between 1 and 2³¹ - 1.
    """
    listed = [
        (as_bytes("password", password), as_bytes("salt", salt), iterations) for password, salt, iterations in jobs
    ]
    for _, _, iterations in listed:
        _check_iterations(iterations)
    derived: list[bytes] = _native.functions.pbkdf2_hmac_sha256_many(listed)
    return derived


@clears_locals
def scram_keys(password: str | bytes, salt: bytes, iterations: int) -> ScramKeys:
    """Derive ClientKey, StoredKey and ServerKey from a password (RFC 5802 §3), after SASLprep.

    Raises:
        ConfigError: `password` or `salt` has another type, or `iterations` is out of range.
    """
    return keys_from_salted_password(pbkdf2_hmac_sha256(saslprep(password), salt, iterations))


@clears_locals
def scram_verifier(password: str | bytes, *, salt: bytes | None = None, iterations: int = 4096) -> str:
    """Return PostgreSQL's verifier of a password: ``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``.

    Args:
        password: The password.
        salt: The salt; by default 16 random bytes.
        iterations: The number of PBKDF2 iterations.

    Raises:
        ConfigError: The password or the salt is empty, or `iterations` is out of range.
    """
    return scram_verifiers([password], salts=None if salt is None else [salt], iterations=iterations)[0]


@clears_locals
def scram_verifiers(
    passwords: Sequence[str | bytes], *, salts: Sequence[bytes] | None = None, iterations: int = 4096
) -> list[str]:
    """Return the verifiers of many passwords, faster than with `scram_verifier`.

    Args:
        passwords: The passwords.
        salts: The salts, one for each password; by default 16 random bytes each.
        iterations: The number of PBKDF2 iterations.

    Raises:
        ConfigError: A password or salt is empty, or `iterations` is out of range.
    """
    if isinstance(passwords, str | bytes):
        raise ConfigError("passwords must be a sequence of passwords", remedy="Use scram_verifier for one password.")
    if not all(passwords):
        raise ConfigError("passwords must not be empty: PostgreSQL does not accept an empty password")
    salts = [os.urandom(_SALT_BYTES) for _ in passwords] if salts is None else salts
    salts = [as_bytes("salt", salt) for salt in salts]
    if not all(salts):
        raise ConfigError("salts must not be empty: PostgreSQL does not accept a verifier with an empty salt")
    if len(salts) != len(passwords):
        raise ConfigError(
            f"there are {len(passwords)} passwords and {len(salts)} salts", remedy="Pass one salt for each password."
        )
    jobs = [(saslprep(password), salt, iterations) for password, salt in zip(passwords, salts, strict=True)]
    return [
        _verifier(salt, iterations, keys_from_salted_password(salted))
        for salt, salted in zip(salts, pbkdf2_hmac_sha256_many(jobs), strict=True)
    ]


def tls_server_end_point(der: bytes) -> bytes:
    """Hash a certificate with the hash function of its signature (RFC 5929 §4.1).

    Args:
        der: The server's certificate, exactly as it was sent.

    Raises:
        ConfigError: `der` is not bytes.
        ChannelBindingUnsupported: The signature algorithm has no single hash function, or `der` is not a certificate.
    """
    return channel_binding.tls_server_end_point(as_bytes("der", der))


def derive_within(
    password: bytes, salt: bytes, iterations: int, seconds: float | None, cancelled: Callable[[], bool] | None = None
) -> ScramKeys | None:
    """Derive keys from a prepared password, within a time limit: a hostile server may choose the iterations.

    Args:
        password: The output of SASLprep.
        salt: The server's salt.
        iterations: The server's iteration count.
        seconds: The time limit, `None` for no limit.
        cancelled: A function that is called repeatedly; if it returns True, the derivation ends.

    Returns:
        The keys, or `None` if the derivation was cancelled.

    Raises:
        TimeoutError: The time limit has passed.
        AuthError: OpenSSL's FIPS module refuses the server's salt or count (SP 800-132: 16 bytes, 1000 iterations).
    """
    try:
        salted = _native.functions.pbkdf2_hmac_sha256(password, salt, iterations, seconds=seconds, cancelled=cancelled)
    except ValueError as exc:
        raise AuthError(
            f"this Python refuses PBKDF2 with {iterations} iterations and a salt of {len(salt)} bytes: {exc}",
            remedy="In FIPS mode, set the role's password again with scram_iterations of 1000 or more.",
        ) from exc
    if salted is not None:
        return keys_from_salted_password(salted)
    if cancelled is not None and cancelled():
        return None
    raise TimeoutError(
        f"timeout expired: the server requires {iterations} PBKDF2 iterations, more than this machine computes in the "
        f"remaining {max(seconds or 0, 0):.1f} s",
        remedy="Lower the role's scram_iterations, or raise connect_timeout.",
    )


def _check_iterations(iterations: int) -> None:
    if isinstance(iterations, bool) or not isinstance(iterations, int):
        raise ConfigError(f"PBKDF2 iterations must be an int, not {type(iterations).__name__}")
    if not 1 <= iterations <= _MAX_ITERATIONS:
        raise ConfigError(f"PBKDF2 iterations must be between 1 and {_MAX_ITERATIONS}, not {iterations}")


def _verifier(salt: bytes, iterations: int, keys: ScramKeys) -> str:
    encoded = [base64.b64encode(part).decode() for part in (salt, keys.stored_key, keys.server_key)]
    return f"{SCRAM_SHA_256}${iterations}:{encoded[0]}${encoded[1]}:{encoded[2]}"
