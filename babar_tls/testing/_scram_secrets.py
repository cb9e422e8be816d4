"""The SCRAM secrets of a server's roles, and mock secrets for roles that do not exist."""

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
    """Parse a verifier as PostgreSQL stores it; return `None` if `text` is not a verifier.

    ClientKey is empty, because a verifier does not contain it.
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
        iterations: The iteration count for passwords and for mock secrets.

    Raises:
        ConfigError: A password is empty, a verifier is malformed, or the count is out of range.
    """

    def __init__(self, roles: Mapping[str, str | bytes | None], iterations: int) -> None:
        self._iterations = iterations
        self._mock_nonce = os.urandom(_KEY_LENGTH)
        scram_verifier("any", iterations=iterations)  # raises ConfigError if the count is out of range
        self._secrets = {name: self._secret(name, given) for name, given in roles.items() if given is not None}

    def of(self, user: str) -> ScramSecret:
        """Return the secret of `user`, or a mock secret that no proof satisfies.

        Clients must not learn which roles exist. The salt of a mock secret is therefore the same for each login, as in
        PostgreSQL's mock authentication.
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
                f"the verifier of role {name!r} is malformed: it begins with {_PREFIX!r}",
                remedy="Make a verifier with `babar-tls verifier`. A password cannot begin with this prefix here.",
            )
        return secret
