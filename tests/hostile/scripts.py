"""Parts of server scripts, and a client in both styles."""

from __future__ import annotations

import asyncio
import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Config, Error, Session
from babar_tls.crypto import scram_keys, tls_server_end_point
from babar_tls.protocol.scram import ScramServer
from babar_tls.testing._tls_contexts import SSL_REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer

PASSWORD = "a secret of ours"
SALT = b"0123456789abcdef"
FATAL = b"SFATAL\0VFATAL\0C28000\0Mgo away\0\0"
READY = b"Z\0\0\0\x05I"
AUTHENTICATION_OK = struct.pack("!i", 0)
HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
SSH = b"SSH-2.0-OpenSSH_9.9\r\n"


def connect(config: Config, style: str, *queries: str) -> list[Any]:
    """Connect, run queries and close; return the results."""
    if style == "blocking":
        with Session.connect(config) as session:
            return [session.query(sql) for sql in queries]

    async def run() -> list[Any]:
        async with await AsyncSession.connect(config) as session:
            return [await session.query(sql) for sql in queries]

    return asyncio.run(run())


def failure(config: Config, style: str, kind: type[Error], *queries: str) -> Any:
    """Return the error of this exact class that connecting or a query raises.

    It names the server and contains no secret.
    """
    with pytest.raises(kind) as caught:
        connect(config, style, *queries)
    error = caught.value
    assert type(error) is kind
    assert f"127.0.0.1, port {config.port}" in str(error).replace('"', "").replace("localhost (127.0.0.1)", "127.0.0.1")
    assert PASSWORD not in str(error)
    return error


def answer_ssl_request(answer: bytes) -> Callable[[ScriptedPeer], None]:
    """Return a script that answers SSLRequest with these bytes in one segment."""

    def script(peer: ScriptedPeer) -> None:
        assert peer.receive_startup() == SSL_REQUEST
        peer.send(answer)
        peer.receive()

    return script


def receive_until_closed(peer: ScriptedPeer) -> bytes:
    """Return everything that the client sends before it disconnects."""
    received = bytearray()
    try:
        while chunk := peer.receive():
            received += chunk
    except OSError:
        pass
    return bytes(received)


def request(code: int, body: bytes = b"") -> bytes:
    """Return the payload of an authentication request."""
    return struct.pack("!i", code) + body


def offer_scram(peer: ScriptedPeer, *mechanisms: bytes) -> tuple[str, bytes]:
    """Receive the StartupMessage and offer mechanisms; return the client's choice and its first message."""
    peer.receive_startup()
    peer.send_message(b"R", request(10, b"".join(name + b"\0" for name in mechanisms) + b"\0"))
    kind, payload = peer.receive_message()
    assert kind == b"p"
    name, _, rest = payload.partition(b"\0")
    return name.decode(), rest[4:]


def scram(peer: ScriptedPeer, *, iterations: int = 4096, der: bytes | None = None) -> None:
    """Authenticate the client with SCRAM; with `der`, support channel binding to that certificate."""
    bindings = {} if der is None else {"tls-server-end-point": tls_server_end_point(der)}
    server = ScramServer(scram_keys(PASSWORD, SALT, iterations), SALT, iterations, channel_binding=bindings)
    mechanism, first = offer_scram(peer, *[name.encode() for name in server.mechanisms])
    peer.send_message(b"R", request(11, server.server_first_message(mechanism, first)))
    peer.send_message(b"R", request(12, server.server_final_message(peer.receive_message()[1])))


def send_ready(peer: ScriptedPeer) -> None:
    peer.send_message(b"R", AUTHENTICATION_OK)
    peer.send_message(b"S", b"server_version\00017.0\0")
    peer.send_message(b"K", struct.pack("!ii", 4711, 42))
    peer.send(READY)


def log_in(peer: ScriptedPeer, der: bytes | None = None) -> None:
    """Send everything up to ReadyForQuery."""
    scram(peer, der=der)
    send_ready(peer)


def data_row(*values: bytes) -> bytes:
    return struct.pack("!h", len(values)) + b"".join(struct.pack("!i", len(value)) + value for value in values)


class Observer:
    """The bytes that a server received after its script, and whether the client has disconnected."""

    def __init__(self) -> None:
        self.received = b""
        self._disconnected = threading.Event()

    def watch(self, peer: ScriptedPeer) -> None:
        """Receive until the client disconnects."""
        self.received += receive_until_closed(peer)
        self._disconnected.set()

    def assert_disconnected(self) -> None:
        assert self._disconnected.wait(10), "the client is still connected"
