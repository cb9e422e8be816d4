"""What a server keeps of its roles' passwords, and what it pretends to keep of those that it does not have."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from babar_tls.crypto import ScramKeys, scram_verifier
from babar_tls.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


_PREFIX = "SCRAM-SHA-256$"
_BASE64 = "([A-Za-z0-9+/]+={0,2})"
_VERIFIER = re.compile(rf"SCRAM-SHA-256\$([1-9][0-9]{{0,9}}):{_BASE64}\${_BASE64}:{_BASE64}")
_KEY_LENGTH = 32
_SALT_LENGTH = 16


@dataclass(frozen=True)
class ScramSecret:
    """A role's salt, iteration count, StoredKey and ServerKey (RFC 5802 §3)."""

    salt: bytes
    iterations: int
    keys: ScramKeys


def parse_verifier(text: str) -> ScramSecret | None:
    """Read a verifier as PostgreSQL stores it; `None` if `text` is something else.

    ClientKey, which a verifier does not have, is empty.
    """
    match = _VERIFIER.fullmatch(text)
    if match is None:
        return None
    try:
        salt, stored_key, server_key = (base64.b64decode(part, validate=True) for part in match.groups()[1:])
    except binascii.Error:
        return None
    if len(stored_key) != _KEY_LENGTH or len(server_key) != _KEY_LENGTH:
        return None
    return ScramSecret(salt, int(match[1]), ScramKeys(b"", stored_key, server_key))


class Secrets:
    """The secrets of all roles.

    Args:
        roles: Password or verifier by name; `None` for a role without a password.
        iterations: For the verifiers that are made from passwords, and for those that are made up.

    Raises:
        ConfigError: A password is empty, something begins like a verifier and is none, or the count is out of range.
    """

    def __init__(self, roles: Mapping[str, str | bytes | None], iterations: int) -> None:
        self._iterations = iterations
        self._mock_nonce = os.urandom(_KEY_LENGTH)
        scram_verifier("any", iterations=iterations)  # judges the count, whoever there is
        self._secrets = {name: self._secret(name, given) for name, given in roles.items() if given is not None}

    def of(self, user: str) -> ScramSecret:
        """The secret of `user`, or one that no proof satisfies: who does not exist must look like who does.

        The salt that is made up stays the same from one login to the next, as a real one would (PostgreSQL's mock
        authentication).
        """
        known = self._secrets.get(user)
        mock_salt = hashlib.sha256(user.encode() + self._mock_nonce).digest()[:_SALT_LENGTH]
        mock = ScramKeys(b"", os.urandom(_KEY_LENGTH), os.urandom(_KEY_LENGTH))
        return known or ScramSecret(mock_salt, self._iterations, mock)

    def _secret(self, name: str, given: str | bytes) -> ScramSecret:
        text = given if isinstance(given, str) and given.startswith(_PREFIX) else None
        secret = parse_verifier(text or scram_verifier(given, iterations=self._iterations))
        if secret is None:
            raise ConfigError(
                f"role {name!r} has something that begins with {_PREFIX!r} and is no verifier",
                remedy="babar-tls verifier makes one; a password that begins like that cannot be used here.",
            )
        return secret
