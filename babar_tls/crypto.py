"""The primitives behind SCRAM and channel binding, for people who need them alone.

Everything here is a function of its arguments; nothing is cached and nothing is kept. The work is done by the compiled
helper where there is one (`implementation` tells), and by hashlib where there is none.
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

_SALT_BYTES = 16  # as PostgreSQL's own verifiers
_MAX_ITERATIONS = (1 << 31) - 1


def implementation() -> str:
    """What computes PBKDF2 here: ``sha-ni``, ``armv8`` or ``portable`` in C, or ``hashlib``, this Python's OpenSSL."""
    return _native.IMPLEMENTATION


@clears_locals
def pbkdf2_hmac_sha256(password: bytes, salt: bytes, iterations: int) -> bytes:
    """One block of PBKDF2-HMAC-SHA-256 (RFC 8018 §5.2): 32 bytes. Releases the GIL.

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
    """Many independent derivations, several at once where the CPU can. Releases the GIL.

    Args:
        jobs: Password, salt and iterations of each; lengths and iterations may differ.

    Returns:
        What `pbkdf2_hmac_sha256` would return for each, in the same order.

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
    """ClientKey, StoredKey and ServerKey of a password (RFC 5802 §3), which goes through SASLprep first.

    Raises:
        ConfigError: `password` or `salt` has another type, or `iterations` is out of range.
    """
    return keys_from_salted_password(pbkdf2_hmac_sha256(saslprep(password), salt, iterations))


@clears_locals
def scram_verifier(password: str | bytes, *, salt: bytes | None = None, iterations: int = 4096) -> str:
    """What PostgreSQL keeps in place of a password: ``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``.

    Args:
        password: The password.
        salt: By default 16 random bytes.
        iterations: PBKDF2 iterations.

    Raises:
        ConfigError: The password or the salt is empty, or `iterations` is out of range.
    """
    return scram_verifiers([password], salts=None if salt is None else [salt], iterations=iterations)[0]


@clears_locals
def scram_verifiers(
    passwords: Sequence[str | bytes], *, salts: Sequence[bytes] | None = None, iterations: int = 4096
) -> list[str]:
    """`scram_verifier` for many passwords at once, which is faster than one after the other.

    Args:
        passwords: The passwords.
        salts: A salt for each; by default 16 random bytes each.
        iterations: PBKDF2 iterations.

    Raises:
        ConfigError: A password or salt is empty, or `iterations` is out of range.
    """
    if isinstance(passwords, str | bytes):
        raise ConfigError("passwords must be several passwords, not one", remedy="Use scram_verifier for one.")
    if not all(passwords):
        raise ConfigError("an empty password has no verifier: PostgreSQL would never let anybody in with it")
    salts = [os.urandom(_SALT_BYTES) for _ in passwords] if salts is None else salts
    salts = [as_bytes("salt", salt) for salt in salts]
    if not all(salts):
        raise ConfigError("an empty salt has no verifier: PostgreSQL would not take it for one")
    if len(salts) != len(passwords):
        raise ConfigError(
            f"there are {len(passwords)} passwords and {len(salts)} salts", remedy="Pass a salt for each."
        )
    jobs = [(saslprep(password), salt, iterations) for password, salt in zip(passwords, salts, strict=True)]
    return [
        _verifier(salt, iterations, keys_from_salted_password(salted))
        for salt, salted in zip(salts, pbkdf2_hmac_sha256_many(jobs), strict=True)
    ]


def tls_server_end_point(der: bytes) -> bytes:
    """The hash of a certificate by the hash function of its signature (RFC 5929 §4.1).

    Args:
        der: The server's certificate, exactly as it was sent.

    Raises:
        ConfigError: `der` is not bytes.
        ChannelBindingUnsupported: The signature algorithm names no single hash function, or `der` is no certificate.
    """
    return channel_binding.tls_server_end_point(as_bytes("der", der))


def derive_within(
    password: bytes, salt: bytes, iterations: int, seconds: float | None, cancelled: Callable[[], bool] | None = None
) -> ScramKeys | None:
    """Derive keys from a prepared password, for a server that chose the iterations and may be hostile.

    Args:
        password: What SASLprep left of it.
        salt: The server's salt.
        iterations: The server's count.
        seconds: How long that may take, `None` for no limit.
        cancelled: Asked now and then; when it says `True` there is nobody to derive for any more.

    Returns:
        The keys, or `None` if it was cancelled.

    Raises:
        TimeoutError: It takes too long.
        AuthError: OpenSSL's FIPS module refuses the server's salt or count (SP 800-132: 16 bytes, 1000 iterations).
    """
    try:
        salted = _native.functions.pbkdf2_hmac_sha256(password, salt, iterations, seconds=seconds, cancelled=cancelled)
    except ValueError as exc:
        raise AuthError(
            f"PBKDF2 with {iterations} iterations and a salt of {len(salt)} bytes is refused by this Python: {exc}",
            remedy="In FIPS mode, set the role's password again with scram_iterations of 1000 or more.",
        ) from exc
    if salted is not None:
        return keys_from_salted_password(salted)
    if cancelled is not None and cancelled():
        return None
    raise TimeoutError(
        f"timeout expired: the server asks for {iterations} PBKDF2 iterations, more than this machine computes in "
        f"the {max(seconds or 0, 0):.1f} s that are left",
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
