"""Messages of frontend/backend protocol 3: encode those that the client sends, decode those that the server sends.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOL_3_0 = 196608
_SSL_REQUEST_CODE = 80877103
_CANCEL_REQUEST_CODE = 80877102
#: The length of the key in a BackendKeyData of protocol 3.0, and the maximum in later versions, in bytes.
_CANCEL_KEY, _MAX_CANCEL_KEY = 4, 256

_HEADER = struct.Struct("!cI")
_INT32 = struct.Struct("!I")
_UINT16 = struct.Struct("!H")
_LENGTH = struct.Struct("!i")


class Message(NamedTuple):
    """One message of the server: its type byte, and the bytes after its length."""

    kind: bytes
    payload: bytes


def shown(byte: bytes) -> str:
    """Format an unexpected byte for an error text: as a character if it is printable, otherwise escaped."""
    return byte.decode() if byte.isascii() and byte.decode().isprintable() else repr(byte)[2:-1]


def ssl_request() -> bytes:
    """Encode an SSLRequest."""
    return struct.pack("!II", 8, _SSL_REQUEST_CODE)


def cancel_request(process_id: int, secret_key: bytes) -> bytes:
    """Encode a CancelRequest; the server chooses the length of the key."""
    return struct.pack("!III", 12 + len(secret_key), _CANCEL_REQUEST_CODE, process_id) + secret_key


def startup(parameters: Iterable[tuple[str, str]], version: int = PROTOCOL_3_0) -> bytes:
    """Encode a StartupMessage that requests this version of the protocol."""
    body = "".join(f"{name}\0{value}\0" for name, value in parameters).encode()
    return struct.pack("!II", 9 + len(body), version) + body + b"\0"


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """Encode a message that has a type byte."""
    return _HEADER.pack(kind, 4 + len(payload)) + payload


def password(secret: bytes) -> bytes:
    """Encode a PasswordMessage: a cleartext password or an md5 digest.

    Raises:
        ConfigError: The secret contains a NUL, which would truncate it.
    """
    if b"\0" in secret:
        raise ConfigError("the password contains a NUL, which this authentication method cannot transmit")
    return frame(b"p", secret + b"\0")


def sasl_initial_response(mechanism: str, response: bytes) -> bytes:
    """Encode a SASLInitialResponse."""
    return frame(b"p", mechanism.encode() + b"\0" + _INT32.pack(len(response)) + response)


def sasl_response(response: bytes) -> bytes:
    """Encode a SASLResponse."""
    return frame(b"p", response)


def query(sql: str) -> bytes:
    """Encode a Query.

    Raises:
        ConfigError: The text contains a NUL or a lone surrogate.
    """
    if "\0" in sql:
        raise ConfigError("the query contains a NUL, which the protocol cannot transmit")
    try:
        encoded = sql.encode()
    except UnicodeEncodeError:  # it contains the query, so it must not be the context of the error
        encoded = None
    if encoded is None:
        raise ConfigError("the query contains a lone surrogate, which UTF-8 cannot encode")
    return frame(b"Q", encoded + b"\0")


def copy_fail(reason: str) -> bytes:
    """Encode a CopyFail."""
    return frame(b"f", reason.encode() + b"\0")


TERMINATE = frame(b"X")


def cstrings(payload: bytes) -> list[bytes]:
    """Split a payload that consists of NUL-terminated strings.

    Raises:
        ProtocolError: The last string is unterminated.
    """
    if not payload:
        return []
    if payload[-1]:
        raise ProtocolError("unterminated string in server message")
    return payload[:-1].split(b"\0")


def parse_fields(payload: bytes) -> dict[str, str]:
    """Parse an ErrorResponse or NoticeResponse: field code to text (undecodable bytes become U+FFFD).

    Raises:
        ProtocolError: The message is malformed.
    """
    if not payload.endswith(b"\0"):
        raise ProtocolError("the server sent a malformed error message")
    fields = payload[:-1].split(b"\0")
    return {text(item[:1]): text(item[1:]) for item in fields if item}


def parse_parameter_status(payload: bytes) -> tuple[str, str]:
    """Parse a ParameterStatus: name and value.

    Raises:
        ProtocolError: The message is malformed.
    """
    parts = payload.decode("utf-8", "replace").split("\0")
    if len(parts) != 3 or parts[2]:
        raise ProtocolError("the server sent a malformed ParameterStatus")
    return parts[0], parts[1]


def parse_backend_key_data(payload: bytes, version: int = PROTOCOL_3_0) -> tuple[int, bytes]:
    """Parse a BackendKeyData of this version of the protocol: process ID and secret key.

    Raises:
        ProtocolError: The message is malformed.
    """
    if len(payload) < 4:
        raise ProtocolError("the server sent a malformed BackendKeyData")
    key = payload[4:]
    problem = None
    if version == PROTOCOL_3_0 and len(key) != _CANCEL_KEY:
        problem = "not allowed in protocol version 3.0 (must be 4 bytes)"
    elif len(key) < _CANCEL_KEY:
        problem = "is too short (minimum 4 bytes)"
    elif len(key) > _MAX_CANCEL_KEY:
        problem = "is too long (maximum 256 bytes)"
    if problem is not None:
        raise ProtocolError(f"received invalid BackendKeyData message: cancel key with length {len(key)} {problem}")
    return _INT32.unpack_from(payload)[0], key


def parse_ready_for_query(payload: bytes) -> bytes:
    """Parse a ReadyForQuery: the transaction status, ``I`` (idle), ``T`` (in a transaction) or ``E`` (in a failed one).

    Raises:
        ProtocolError: The message is malformed.
    """
    if payload not in (b"I", b"T", b"E"):
        raise ProtocolError("the server sent a malformed ReadyForQuery")
    return payload


def parse_data_row(payload: bytes) -> tuple[str | None, ...]:
    """Parse a DataRow in text format.

    Raises:
        ProtocolError: The message is malformed.
    """
    values: list[str | None] = []
    offset, end = 2, len(payload)
    try:
        (count,) = _UINT16.unpack_from(payload)
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(payload, offset)
            offset += 4
            if length >= 0:
                values.append(payload[offset : offset + length].decode("utf-8", "replace"))
                offset += length
            elif length == -1:
                values.append(None)
            else:
                raise ProtocolError("the server sent a malformed DataRow")
    except struct.error:
        offset = -1
    if offset != end:
        raise ProtocolError("the server sent a malformed DataRow")
    return tuple(values)


def text(data: bytes) -> str:
    """Decode UTF-8, and replace invalid bytes, which a server that is not authenticated may send."""
    return data.decode("utf-8", "replace")
