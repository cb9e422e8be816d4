"""The computations of an honest PostgreSQL server: SCRAM-SHA-256 (RFC 5802) and md5, with hashlib and hmac only.

Nothing is imported from the library, so that the oracle and the library cannot share a mistake.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from functools import cache

USER = "app"
PASSWORD = "s3cret-pencil"
CLIENT_NONCE = b"3rfcNHYJY1ZVvWVs7jqWfGhT"
FULL_NONCE = CLIENT_NONCE + b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = b"\x01\x02\x03\x04" * 4
ITERATIONS = 4096
MD5_SALT = b"\xca\xfe\xba\xbe"


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


# RFC 5802 §3.
SALTED_PASSWORD = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, ITERATIONS)
CLIENT_KEY = _hmac(SALTED_PASSWORD, b"Client Key")
STORED_KEY = hashlib.sha256(CLIENT_KEY).digest()
SERVER_KEY = _hmac(SALTED_PASSWORD, b"Server Key")

_INNER_MD5 = hashlib.md5((PASSWORD + USER).encode()).hexdigest().encode()  # noqa: S324 - the protocol requires MD5
MD5_RESPONSE = b"md5" + hashlib.md5(_INNER_MD5 + MD5_SALT).hexdigest().encode()  # noqa: S324 - the same

#: Byte strings that a client must never send, in each plausible encoding.
NEVER_SENT = tuple(
    encoded
    for secret in (SALTED_PASSWORD, CLIENT_KEY, STORED_KEY, SERVER_KEY)
    for encoded in (secret, secret.hex().encode(), base64.b64encode(secret))
)


def server_first(nonce: bytes = FULL_NONCE, salt: bytes | None = None, iterations: int = ITERATIONS) -> bytes:
    """Return a server-first-message, by default the honest server's."""
    return b"r=%b,s=%b,i=%d" % (nonce, base64.b64encode(SALT) if salt is None else salt, iterations)


def client_final_without_proof(gs2_header: bytes, cbind_data: bytes) -> bytes:
    """Return the client-final-message-without-proof that answers `server_first()`."""
    return b"c=" + base64.b64encode(gs2_header + cbind_data) + b",r=" + FULL_NONCE


@cache
def client_proof(auth_message: bytes) -> bytes:
    """Return ClientProof in base64."""
    signature = _hmac(STORED_KEY, auth_message)
    return base64.b64encode(bytes(key ^ byte for key, byte in zip(CLIENT_KEY, signature, strict=True)))


@cache
def server_signature(auth_message: bytes) -> bytes:
    """Return ServerSignature in base64."""
    return base64.b64encode(_hmac(SERVER_KEY, auth_message))


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """Return a message with a type byte."""
    return kind + struct.pack("!I", 4 + len(payload)) + payload


def request(code: int, body: bytes = b"") -> bytes:
    """Return an authentication request."""
    return frame(b"R", struct.pack("!I", code) + body)
