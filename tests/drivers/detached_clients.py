"""Sessions that are detached, a client that uses the stream, and servers that send more than a login needs."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import time
import types
from typing import TYPE_CHECKING, Any, Self

from babar_tls import AsyncSession, Session
from babar_tls.net.secure_socket import SecureSocket
from babar_tls.protocol import messages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from babar_tls import Config
    from babar_tls.net.secure_stream import SecureStream
    from babar_tls.testing import PostgresServer, ScriptedPeer

TIMEOUT = 20.0  # seconds
AUTHENTICATION_OK = messages.frame(b"R", struct.pack("!i", 0))
READY = messages.frame(b"Z", b"I")


def connect(config: Config, style: str) -> tuple[Session | AsyncSession, SecureStream]:
    """Return a session and the stream that its `detach` returns. The event loop of an `AsyncSession` is closed."""
    if style == "blocking":
        session = Session.connect(config)
        return session, session.detach()

    async def main() -> tuple[AsyncSession, SecureStream]:
        session = await AsyncSession.connect(config)
        return session, session.detach()

    return asyncio.run(main())


def detached(config: Config, style: str) -> SecureStream:
    return connect(config, style)[1]


def split(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the type and the content of each message; fail if the last one is incomplete."""
    found = []
    while data:
        length = struct.unpack_from("!i", data, 1)[0]
        assert len(data) > length
        found.append((data[:1], data[5 : length + 1]))
        data = data[length + 1 :]
    return found


class Client:
    """A driver with simple queries only."""

    def __init__(self, stream: SecureStream) -> None:
        self._socket = SecureSocket(stream, TIMEOUT)
        self.file = self._socket.makefile()
        self.send(messages.startup([("user", "app")]))
        self.greeting = self.until_ready()

    def send(self, data: bytes) -> None:
        self.file.write(data)
        self.file.flush()

    def message(self) -> tuple[bytes, bytes]:
        kind, length = struct.unpack("!ci", self.file.read(5))
        return kind, self.file.read(length - 4)

    def until_ready(self) -> list[tuple[bytes, bytes]]:
        found = [self.message()]
        while found[-1][0] != b"Z":
            found.append(self.message())
        return found

    def query(self, sql: str) -> list[tuple[bytes, bytes]]:
        self.send(messages.query(sql))
        return self.until_ready()

    def value(self, sql: str) -> str:
        row = dict(self.query(sql))[b"D"]
        (text,) = messages.parse_data_row(row)
        assert text is not None
        return text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def error_code(answer: list[tuple[bytes, bytes]]) -> str:
    """Return the SQLSTATE of the error in a server's answer."""
    return messages.parse_fields(dict(answer)[b"E"])["C"]


def log_in(peer: ScriptedPeer, *parts: bytes) -> None:
    """Accept a login without a password and send the parts, each in a TLS record, and all in one TCP segment."""
    peer.receive_startup()
    peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    cork = getattr(socket, "TCP_CORK", None)
    for is_corked in (1, 0):
        if cork is not None:
            peer.socket.setsockopt(socket.IPPROTO_TCP, cork, is_corked)
        if is_corked:
            for part in parts:
                peer.send(part)


def wait_until_asleep(server: PostgresServer, process_id: int) -> None:
    """Wait until a server process runs pg_sleep."""
    sql = f"select count(*) from pg_stat_activity where pid = {process_id} and wait_event = 'PgSleep'"
    while server.sql(sql) != "1":
        time.sleep(0.01)


def reachable_texts(*roots: Any, without: Iterable[Any] = ()) -> list[bytes]:
    """Return the strings and byte strings that objects refer to, except through `without`, modules and code."""
    skipped = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.FrameType)
    seen = set(map(id, without))
    found: list[bytes] = []
    pending: list[Any] = list(roots)
    kept = []  # so that an identity is not used again
    while pending:
        each = pending.pop()
        if id(each) in seen or isinstance(each, skipped):
            continue
        seen.add(id(each))
        kept.append(each)
        if isinstance(each, str):
            found.append(each.encode("utf-8", "replace"))
        elif isinstance(each, bytes | bytearray | memoryview):
            found.append(bytes(each))
        else:
            pending += gc.get_referents(each)
            pending += getattr(each, "__dict__", {}).values()  # not among the referents of all objects
    return found
