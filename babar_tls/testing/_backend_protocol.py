"""The server's side of PostgreSQL's protocol, for a login and a first query.

https://www.postgresql.org/docs/current/protocol-flow.html
"""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING

from babar_tls.config.enums import ProtocolVersion

if TYPE_CHECKING:
    from babar_tls.testing.peers import ScriptedPeer


PROTOCOL_VIOLATION = "08P01"
_OLDEST, _NEWEST = ProtocolVersion.V3_0.number, ProtocolVersion.V3_2.number
_SHORT_KEY, _LONG_KEY = 4, 32  # bytes, as in PostgreSQL 18
_CANCEL_REQUEST = 80877102
_SELECT_ONE = re.compile(rb"\s*select\s+1\s*;?\s*\0", re.IGNORECASE)
_AUTHENTICATION_OK = 0

_PARAMETERS = {
    "server_version": "17.0",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "integer_datetimes": "on",
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "default_transaction_read_only": "off",
    "in_hot_standby": "off",
}


class RefusedError(Exception):
    """The server refuses the client with this SQLSTATE and message."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message


def parse_startup(packet: bytes) -> dict[str, str] | None:
    """Parse a StartupMessage, including its length; return `None` for a CancelRequest.

    Raises:
        RefusedError: The packet is malformed, or its protocol version is not supported.
    """
    if len(packet) < 8 or struct.unpack_from("!I", packet)[0] != len(packet):
        raise RefusedError(PROTOCOL_VIOLATION, "invalid length of startup packet")
    code = struct.unpack_from("!I", packet, 4)[0]
    if code == _CANCEL_REQUEST:
        return None
    if code >> 16 != _OLDEST >> 16:
        version = f"{code >> 16}.{code & 0xFFFF}"
        raise RefusedError("0A000", f"unsupported frontend protocol {version}: server supports 3.0 to 3.2")
    parts = packet[8:].split(b"\0")
    fields = parts[:-2]
    if parts[-2:] != [b"", b""] or len(fields) % 2 or not all(fields[::2]):
        raise RefusedError(PROTOCOL_VIOLATION, "invalid startup packet layout: expected terminator as last byte")
    texts = [field.decode("utf-8", "replace") for field in fields]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def negotiate_version(peer: ScriptedPeer, packet: bytes, newest: int = _NEWEST) -> int:
    """Return the version of the protocol for a valid StartupMessage, and send NegotiateProtocolVersion if needed.

    Args:
        peer: The connection.
        packet: The StartupMessage, including its length.
        newest: The newest version that the server supports.
    """
    requested = int.from_bytes(packet[4:8], "big")
    unsupported = [name for name in packet[8:].split(b"\0")[:-2:2] if name.startswith(b"_pq_.")]
    version = min(requested, newest)
    if version != requested or unsupported:
        names = b"".join(name + b"\0" for name in unsupported)
        peer.send_message(b"v", struct.pack("!II", version, len(unsupported)) + names)
    return version


def parse_sasl_initial_response(payload: bytes) -> tuple[str, bytes]:
    """Parse a SASLInitialResponse; return the mechanism and the client-first-message.

    Raises:
        RefusedError: The message is malformed.
    """
    name, end, rest = payload.partition(b"\0")
    if not end:
        raise RefusedError(PROTOCOL_VIOLATION, "invalid string in message")
    if len(rest) < 4 or struct.unpack_from("!i", rest)[0] != len(rest) - 4:  # -1 (no initial response) is refused too
        raise RefusedError(PROTOCOL_VIOLATION, "invalid message format")
    return name.decode("ascii", "replace"), rest[4:]


def receive_sasl_response(peer: ScriptedPeer) -> bytes:
    """Receive the content of a SASLInitialResponse or SASLResponse.

    Raises:
        RefusedError: The client sent another message.
    """
    kind, payload = peer.receive_message()
    if kind != b"p":
        raise RefusedError(PROTOCOL_VIOLATION, f"expected SASL response, got message type {kind[0]}")
    return payload


def send_request(peer: ScriptedPeer, code: int, body: bytes = b"") -> None:
    """Send an authentication request."""
    peer.send_message(b"R", struct.pack("!i", code) + body)


def send_fatal(peer: ScriptedPeer, sqlstate: str, message: str) -> None:
    """Send a FATAL ErrorResponse."""
    peer.send_message(b"E", _error("FATAL", sqlstate, message))


def _error(severity: str, sqlstate: str, message: str) -> bytes:
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": message}
    return b"".join(f"{code}{text}\0".encode() for code, text in fields.items()) + b"\0"


def get_ready(peer: ScriptedPeer, version: int = _OLDEST) -> None:
    """Send AuthenticationOk and the messages up to ReadyForQuery, in this version of the protocol."""
    send_request(peer, _AUTHENTICATION_OK)
    for name, value in _PARAMETERS.items():
        peer.send_message(b"S", f"{name}\0{value}\0".encode())
    peer.send_message(
        b"K", struct.pack("!I", os.getpid()) + os.urandom(_LONG_KEY if version >= _NEWEST else _SHORT_KEY)
    )
    peer.send_message(b"Z", b"I")


def answer_queries(peer: ScriptedPeer) -> None:
    """Answer ``select 1``, and other simple queries with an error, until the client disconnects."""
    while True:
        kind, payload = peer.receive_message()
        if kind == b"X":
            return
        if kind != b"Q":
            send_fatal(peer, "0A000", "this server supports only simple queries")
            return
        if _SELECT_ONE.fullmatch(payload):
            int4 = struct.pack("!ihihih", 0, 0, 23, 4, -1, 0)  # no table or column; type, size; no modifier; text
            peer.send_message(b"T", struct.pack("!h", 1) + b"?column?\0" + int4)
            peer.send_message(b"D", struct.pack("!hi", 1, 1) + b"1")
            peer.send_message(b"C", b"SELECT 1\0")
        else:
            peer.send_message(b"E", _error("ERROR", "0A000", "this server supports only the query select 1"))
        peer.send_message(b"Z", b"I")
