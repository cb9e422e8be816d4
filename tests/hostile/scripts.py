"""What a server says, piece by piece, and a client in either style to say it to."""

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
    """Connect, run queries, close; returns what the queries gave."""
    if style == "blocking":
        with Session.connect(config) as session:
            return [session.query(sql) for sql in queries]

    async def run() -> list[Any]:
        async with await AsyncSession.connect(config) as session:
            return [await session.query(sql) for sql in queries]

    return asyncio.run(run())


def failure(config: Config, style: str, kind: type[Error], *queries: str) -> Any:
    """The error of exactly this kind that connecting, or a query, ends in. It names the server and no secret."""
    with pytest.raises(kind) as caught:
        connect(config, style, *queries)
    error = caught.value
    assert type(error) is kind
    assert f"127.0.0.1, port {config.port}" in str(error).replace('"', "").replace("localhost (127.0.0.1)", "127.0.0.1")
    assert PASSWORD not in str(error)
    return error


def answer_ssl_request(answer: bytes) -> Callable[[ScriptedPeer], None]:
    """A script that answers SSLRequest with these bytes in one segment, and listens."""

    def script(peer: ScriptedPeer) -> None:
        assert peer.receive_startup() == SSL_REQUEST
        peer.send(answer)
        peer.receive()

    return script


def until_gone(peer: ScriptedPeer) -> bytes:
    """All that the client still says, until it has gone."""
    heard = bytearray()
    try:
        while chunk := peer.receive():
            heard += chunk
    except OSError:
        pass
    return bytes(heard)


def request(code: int, body: bytes = b"") -> bytes:
    """An authentication request of the server's."""
    return struct.pack("!i", code) + body


def offer_scram(peer: ScriptedPeer, *mechanisms: bytes) -> tuple[str, bytes]:
    """Read the StartupMessage, offer mechanisms; returns the client's choice and its first message."""
    peer.receive_startup()
    peer.send_message(b"R", request(10, b"".join(name + b"\0" for name in mechanisms) + b"\0"))
    kind, payload = peer.receive_message()
    assert kind == b"p"
    name, _, rest = payload.partition(b"\0")
    return name.decode(), rest[4:]


def scram(peer: ScriptedPeer, *, iterations: int = 4096, der: bytes | None = None) -> None:
    """Authenticate the client as a server that knows the password; with `der`, bound to that certificate."""
    bindings = {} if der is None else {"tls-server-end-point": tls_server_end_point(der)}
    server = ScramServer(scram_keys(PASSWORD, SALT, iterations), SALT, iterations, channel_binding=bindings)
    mechanism, first = offer_scram(peer, *[name.encode() for name in server.mechanisms])
    peer.send_message(b"R", request(11, server.server_first_message(mechanism, first)))
    peer.send_message(b"R", request(12, server.server_final_message(peer.receive_message()[1])))


def get_ready(peer: ScriptedPeer) -> None:
    peer.send_message(b"R", AUTHENTICATION_OK)
    peer.send_message(b"S", b"server_version\00017.0\0")
    peer.send_message(b"K", struct.pack("!ii", 4711, 42))
    peer.send(READY)


def log_in(peer: ScriptedPeer, der: bytes | None = None) -> None:
    """Everything up to ReadyForQuery."""
    scram(peer, der=der)
    get_ready(peer)


def data_row(*values: bytes) -> bytes:
    return struct.pack("!h", len(values)) + b"".join(struct.pack("!i", len(value)) + value for value in values)


class Seen:
    """What a server has seen of its client, waited for from the test's side."""

    def __init__(self) -> None:
        self.heard = b""
        self._gone = threading.Event()

    def watch(self, peer: ScriptedPeer) -> None:
        """Listen until the client has gone."""
        self.heard += until_gone(peer)
        self._gone.set()

    def assert_gone(self) -> None:
        assert self._gone.wait(10), "the server still has its client"
