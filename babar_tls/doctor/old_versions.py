"""Find out whether a server accepts only TLS versions that this library does not support."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from ..config.enums import TlsNegotiation
from ..errors import Error
from ..protocol.messages import ssl_request
from ..protocol.requests import Connect, Phase, Receive, Send
from ..tls.hello import HANDSHAKE_RECORD, VERSIONS, server_choice
from .case import run, unverified

if TYPE_CHECKING:
    from ..net.deadline import Meter
    from ..protocol.requests import Exchange
    from .case import Case

_TLS_1_0, _TLS_1_1, _TLS_1_2 = 0x0301, 0x0302, 0x0303
#: Cipher suites of TLS 1.0 and 1.1 that servers had in common (RFC 4346 §A.5, RFC 4492 §6).
_SUITES = (0xC014, 0xC00A, 0xC013, 0xC009, 0x0039, 0x0033, 0x0035, 0x002F, 0x000A)
_GROUPS = (29, 23, 24, 25)  # X25519, P-256, P-384, P-521
_SERVER_HELLO = 2
_MAX_HELLO = 1 << 12  # bytes of the response that are read


def accepted_old_version(case: Case, meter: Meter) -> str | None:
    """Return the TLS version that the server selects if TLS 1.1 is the newest offer; None if it refuses.

    Only a ClientHello is sent. No connection is established.
    """
    config = unverified(case.reached_config)
    try:
        return run(config, _offer(case), meter)
    except Error:
        return None


def _offer(case: Case) -> Exchange[str | None]:
    if case.reached is None:
        return None
    yield Connect(case.reached)
    if case.config.tls_negotiation is not TlsNegotiation.DIRECT:
        yield Send(ssl_request(), Phase.NEGOTIATE)
        if (yield Receive(Phase.NEGOTIATE)) != b"S":
            return None
    yield Send(client_hello(), Phase.TLS)
    answer = b""
    while len(answer) < _MAX_HELLO:
        received: bytes = yield Receive(Phase.TLS)
        answer += received
        version = selected_version(answer)
        if version is not None or not received:
            return VERSIONS.get(version) if version in (_TLS_1_0, _TLS_1_1) else None
    return None


def client_hello() -> bytes:
    """Return the record of a ClientHello whose newest version is TLS 1.1 (RFC 4346 §7.4.1.2)."""
    groups = b"".join(struct.pack("!H", group) for group in _GROUPS)
    extensions = _extension(10, _vector(2, groups)) + _extension(11, _vector(1, b"\0"))
    body = struct.pack("!H", _TLS_1_1) + os.urandom(32) + _vector(1, b"")
    body += _vector(2, b"".join(struct.pack("!H", suite) for suite in _SUITES)) + _vector(1, b"\0")
    body += _vector(2, extensions)
    return struct.pack("!BH", HANDSHAKE_RECORD, _TLS_1_0) + _vector(2, b"\1" + _vector(3, body))


def selected_version(data: bytes) -> int | None:
    """Return the version in the ServerHello at the start of `data`; None if it is incomplete or something else."""
    if len(data) < 9 or data[0] != HANDSHAKE_RECORD or data[5] != _SERVER_HELLO:
        return None
    length = int.from_bytes(data[6:9], "big")
    body = data[9 : 9 + length]
    if len(body) < length:
        return None
    try:
        return server_choice(body).version
    except ValueError:
        return None


def _vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def _extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!H", kind) + _vector(2, data)
