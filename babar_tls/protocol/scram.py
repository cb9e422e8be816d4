"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), client and server, with the names of the RFC.

::

    C: client-first-message   gs2-header "n=" "," "r=" c-nonce
    S: server-first-message   "r=" c-nonce s-nonce "," "s=" salt "," "i=" iteration-count
    C: client-final-message   "c=" base64(cbind-input) "," "r=" nonce "," "p=" ClientProof
    S: server-final-message   "v=" ServerSignature  /  "e=" server-error-value

PostgreSQL's deviations: the user name is empty, because the StartupMessage has it; PostgreSQL's SASLprep prepares the
password; every iteration count from 1 is allowed, as for the server's ``scram_iterations``.

Attributes are parsed strictly and in order. AuthMessage consists of the messages exactly as they were received. The
exchange ends at the first wrong proof or signature.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from binascii import a2b_base64, b2a_base64
from typing import NamedTuple

from .._native import functions
from ..diagnostics.escaping import visible
from ..errors import AuthError, ProtocolError, ServerSignatureError
from .requests import ScramKeys

SCRAM_SHA_256 = "SCRAM-SHA-256"
SCRAM_SHA_256_PLUS = "SCRAM-SHA-256-PLUS"
KEY_LENGTH = 32

_NONCE_BYTES = 18  # as long as libpq's; 24 characters of base64
_NONCE = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")  # printable, without the comma (RFC 5802 §7)
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?")  # RFC 5802 §7
_COUNT = re.compile(rb"[1-9][0-9]{0,9}")
_MAX_ERROR = 500  # characters of a server-error-value that are shown


class ServerFirst(NamedTuple):
    """The attributes of a server-first-message."""

    nonce: bytes
    salt: bytes
    iterations: int


def keys_from_salted_password(salted_password: bytes) -> ScramKeys:
    """Derive ClientKey, StoredKey and ServerKey (RFC 5802 §3)."""
    return ScramKeys(*functions.scram_keys(salted_password))


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Compute HMAC-SHA-256."""
    mac: bytes = functions.hmac_sha256(key, message)
    return mac


def _xor(left: bytes, right: bytes) -> bytes:
    """Compute the XOR of two values of `KEY_LENGTH` bytes."""
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(KEY_LENGTH, "big")


def make_nonce() -> bytes:
    """Return a random nonce of printable characters."""
    return b2a_base64(os.urandom(_NONCE_BYTES), newline=False)


class ScramClient:
    """The client's side of one exchange. Call the methods once each, in the order of their definition.

    Args:
        gs2_cbind_flag: ``n``, ``y``, or ``p=`` and the channel binding type (RFC 5802 §6).
        cbind_data: The channel binding data; empty without ``p=``.
        nonce: For test vectors only.
    """

    def __init__(self, gs2_cbind_flag: str, cbind_data: bytes = b"", *, nonce: bytes | None = None) -> None:
        self._gs2_header = f"{gs2_cbind_flag},,".encode()
        self._cbind_input = self._gs2_header + cbind_data
        self._nonce = nonce or make_nonce()
        self._client_first_message_bare = b"n=,r=" + self._nonce
        self._auth_message = b""
        self._server_key = b""

    def client_first_message(self) -> bytes:
        """Return the first message, including the gs2-header. It contains no secret."""
        return self._gs2_header + self._client_first_message_bare

    def receive_server_first(self, message: bytes) -> ServerFirst:
        """Parse the server's challenge.

        Raises:
            ProtocolError: It is malformed, or its nonce does not extend the client's nonce.
        """
        challenge = parse_server_first(message)
        # The server must append a nonce, which prevents replays.
        if not challenge.nonce.startswith(self._nonce) or challenge.nonce == self._nonce:
            raise ProtocolError("invalid SCRAM response (nonce mismatch)")
        without_proof = b"c=" + b2a_base64(self._cbind_input, newline=False) + b",r=" + challenge.nonce
        self._client_final_message_without_proof = without_proof
        self._auth_message = b",".join([self._client_first_message_bare, message, without_proof])
        return challenge

    def client_final_message(self, keys: ScramKeys) -> bytes:
        """Return the message that proves that the client has the password."""
        self._server_key = keys.server_key
        client_signature = hmac_sha256(keys.stored_key, self._auth_message)
        proof = _xor(keys.client_key, client_signature)
        return self._client_final_message_without_proof + b",p=" + b2a_base64(proof, newline=False)

    def receive_server_final(self, message: bytes) -> None:
        """Verify the server's signature, which proves that it has the password's verifier.

        Raises:
            AuthError: The server reports an error in place of its signature.
            ServerSignatureError: The signature is wrong.
            ProtocolError: The message is malformed.
        """
        _raise_server_error(message)
        verifier, *extensions = message.split(b",")
        server_signature = _base64(_attribute(verifier, b"v"), "ServerSignature")
        _check_extensions(extensions, "server-final-message")
        if len(server_signature) != KEY_LENGTH:
            raise ProtocolError("malformed SCRAM message (invalid server signature)")
        expected = hmac_sha256(self._server_key, self._auth_message)
        if not hmac.compare_digest(server_signature, expected):
            raise ServerSignatureError(
                "incorrect server signature",
                remedy="The server did not prove that it has the password's verifier. Do not trust it.",
            )


class ScramServer:
    """The server's side of one exchange, for test servers.

    Args:
        keys: The user's StoredKey and ServerKey.
        salt: The user's salt.
        iterations: The user's iteration count.
        channel_binding: The binding data of this TLS connection by binding type; empty without TLS.
        nonce: For test vectors only.
    """

    def __init__(
        self,
        keys: ScramKeys,
        salt: bytes,
        iterations: int,
        *,
        channel_binding: dict[str, bytes] | None = None,
        nonce: bytes | None = None,
    ) -> None:
        self._keys = keys
        self._salt = salt
        self._iterations = iterations
        self._bindings = channel_binding or {}
        self._nonce = nonce or make_nonce()

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The mechanisms to advertise, the stronger first."""
        return (SCRAM_SHA_256_PLUS, SCRAM_SHA_256) if self._bindings else (SCRAM_SHA_256,)

    def server_first_message(self, mechanism: str, client_first_message: bytes) -> bytes:
        """Return the response to the client's first message.

        Raises:
            ProtocolError: The message is malformed, or its binding flag does not match the mechanism.
            AuthError: The flag ``y``, although the server offers channel binding (RFC 5802 §6: a downgrade attack).
        """
        parts = client_first_message.split(b",", 2)
        if len(parts) != 3:
            raise ProtocolError("malformed SCRAM message (no gs2-header)")
        flag, authzid, bare = parts
        if authzid:
            raise ProtocolError("malformed SCRAM message (authorization identity)")
        binding_type = flag[2:].decode("ascii", "replace") if flag.startswith(b"p=") else None
        if (binding_type is not None) != (mechanism == SCRAM_SHA_256_PLUS):
            raise ProtocolError("malformed SCRAM message (channel binding flag and mechanism disagree)")
        if binding_type is None and flag not in (b"n", b"y"):
            raise ProtocolError("malformed SCRAM message (unknown channel binding flag)")
        if binding_type is not None and binding_type not in self._bindings:
            raise ProtocolError(f'unsupported SCRAM channel-binding type "{binding_type}"')
        if flag == b"y" and self._bindings:
            raise AuthError("SCRAM channel binding negotiation error")
        name, _, nonce_attribute = bare.partition(b",")
        _attribute(name, b"n")  # the value is ignored: PostgreSQL uses the name in the StartupMessage
        nonce = _attribute(nonce_attribute, b"r")
        if not _NONCE.fullmatch(nonce):
            raise ProtocolError("malformed SCRAM message (invalid nonce)")
        cbind_data = self._bindings[binding_type] if binding_type is not None else b""
        self._cbind_input = flag + b",," + cbind_data
        self._full_nonce = nonce + self._nonce
        salt = b2a_base64(self._salt, newline=False)
        message = b"r=" + self._full_nonce + b",s=" + salt + b",i=" + str(self._iterations).encode()
        self._auth_message_start = bare + b"," + message + b","
        return message

    def server_final_message(self, client_final_message: bytes) -> bytes:
        """Verify the client's proof, and return the message with the server's signature.

        Raises:
            ProtocolError: The message is malformed.
            AuthError: The channel binding, the nonce or the proof is wrong.
        """
        without_proof, _, proof_attribute = client_final_message.rpartition(b",")
        proof = _base64(_attribute(proof_attribute, b"p"), "ClientProof")
        cbind_attribute, _, nonce_attribute = without_proof.partition(b",")
        cbind_input = _base64(_attribute(cbind_attribute, b"c"), "channel binding")
        if not hmac.compare_digest(cbind_input, self._cbind_input):
            raise AuthError("SCRAM channel binding check failed")
        if _attribute(nonce_attribute, b"r") != self._full_nonce:
            raise AuthError("invalid SCRAM response (nonce mismatch)")
        if len(proof) != KEY_LENGTH:
            raise ProtocolError("malformed SCRAM message (invalid proof)")
        auth_message = self._auth_message_start + without_proof
        client_signature = hmac_sha256(self._keys.stored_key, auth_message)
        client_key = _xor(proof, client_signature)
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), self._keys.stored_key):
            raise AuthError("password authentication failed")
        return b"v=" + b2a_base64(hmac_sha256(self._keys.server_key, auth_message), newline=False)


def parse_server_first(message: bytes) -> ServerFirst:
    """Parse a server-first-message. Optional extensions are allowed, mandatory ones (``m=``) are not (RFC 5802 §5.1).

    Raises:
        AuthError: The server sent an error instead.
        ProtocolError: The message is malformed.
    """
    _raise_server_error(message)
    parts = message.split(b",")
    if parts[0].startswith(b"m="):
        raise ProtocolError("malformed SCRAM message (mandatory extension)")
    if len(parts) < 3:
        raise ProtocolError("malformed SCRAM message (attribute missing)")
    nonce = _attribute(parts[0], b"r")
    if not _NONCE.fullmatch(nonce):
        raise ProtocolError("malformed SCRAM message (invalid nonce)")
    salt = _base64(_attribute(parts[1], b"s"), "salt")
    if not salt:
        raise ProtocolError("malformed SCRAM message (empty salt)")
    count = _attribute(parts[2], b"i")
    if not _COUNT.fullmatch(count):
        raise ProtocolError("malformed SCRAM message (invalid iteration count)")
    _check_extensions(parts[3:], "server-first-message")
    return ServerFirst(nonce, salt, int(count))


def _raise_server_error(message: bytes) -> None:
    """Raise an error if the message is a server-error (RFC 5802 §7), whose text ends at a comma.

    Some poolers send other texts than those of the RFC, such as ``e=Wrong password``, or send an error in place of the
    server-first-message.
    """
    if message.startswith(b"e="):
        value = visible(message[2:].partition(b",")[0].decode("utf-8", "replace"), limit=_MAX_ERROR)
        raise AuthError(
            f"error received from server in SCRAM exchange: {value or 'unspecified'}",
            remedy="Check the user and the password. See the log of the server or of its pooler for the reason.",
        )


def _check_extensions(extensions: list[bytes], where: str) -> None:
    """Refuse malformed and mandatory extensions; a client ignores all others (RFC 5802 §5.1)."""
    if any(not re.match(rb"[A-Za-z]=", extension) or extension[:1] == b"m" for extension in extensions):
        raise ProtocolError(f"malformed SCRAM message (garbage at end of {where})")


def _attribute(part: bytes, name: bytes) -> bytes:
    if not part.startswith(name + b"="):
        raise ProtocolError(f'malformed SCRAM message (attribute "{name.decode()}" expected)')
    return part[2:]


def _base64(data: bytes, what: str) -> bytes:
    # Even with `validate=True`, Python's decoder accepts padding after complete groups ("AAAA====").
    if not _BASE64.fullmatch(data):
        raise ProtocolError(f"malformed SCRAM message (invalid {what})")
    return a2b_base64(data)
