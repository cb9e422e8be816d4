"""What the integration assumes of asyncpg: asyncpg does it, and other behaviour raises `IntegrationError`."""

from __future__ import annotations

import asyncio
import inspect
import struct
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("asyncpg", reason="needs the extra asyncpg")

import asyncpg

from babar_tls import IntegrationError
from babar_tls.integrations import asyncpg as secured
from babar_tls.net.secure_stream import SecureStream
from babar_tls.protocol import messages

from .asyncpg_clients import both_loops, config, resources, run
from .detached_clients import split

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import PostgresServer

pytestmark = both_loops

STARTUP = messages.startup([("user", "app")])


class Protocol(asyncio.Protocol):
    """A protocol that writes each item when it is connected, and keeps what it receives."""

    def __init__(self, *items: bytes) -> None:
        self.items = items
        self.received = b""
        self.has_received = asyncio.Event()
        self.transport: Any = None
        self.lost: list[BaseException | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        for item in self.items:
            self.transport.write(item)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.has_received.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


async def _keyword(loop: Any, where: dict[str, Any]) -> None:
    await loop.create_connection(Protocol, where["host"], where["port"], ssl=None)


async def _third_argument(loop: Any, where: dict[str, Any]) -> None:
    await loop.create_connection(Protocol, where["host"], where["port"], None)


async def _unix_with_port(loop: Any, where: dict[str, Any]) -> None:
    await loop.create_unix_connection(Protocol, where["host"], where["port"])


async def _socket(loop: Any, where: dict[str, Any]) -> None:
    await loop.create_connection(Protocol, sock=None)


def _writing(*items: bytes) -> Callable[..., Any]:
    async def connect(loop: Any, where: dict[str, Any]) -> None:
        await loop.create_connection(lambda: Protocol(*items), where["host"], where["port"])

    return connect


MISBEHAVIOUR = {
    "a: keyword": (_keyword, "connects with 3 arguments"),
    "a: third argument": (_third_argument, "connects with 4 arguments"),
    "a: Unix socket with a port": (_unix_with_port, "connects with 3 arguments"),
    "a: socket": (_socket, "connects with 1 arguments"),
    "b: no message": (_writing(), "sends no StartupMessage"),
    "b: SSLRequest": (_writing(messages.ssl_request()), "StartupMessage"),
    "b: protocol 3.2": (_writing(messages.startup([("user", "app")], 3 << 16 | 2)), "StartupMessage"),
    "b: two messages": (_writing(STARTUP + messages.TERMINATE), "StartupMessage"),
    "b: an incomplete message": (_writing(STARTUP[:-1]), "StartupMessage"),
    "b: a part of the header": (_writing(STARTUP[:7]), "StartupMessage"),
    "b: two writes": (_writing(STARTUP, messages.TERMINATE), "before it received the greeting"),
}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_other_behaviour_raises_an_error_and_closes_the_connection(
    server: PostgresServer, backend: str, loop: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    connect, text = MISBEHAVIOUR[name]

    async def misbehaving(*, loop: Any, **where: Any) -> None:
        await connect(loop, where)

    async def main() -> None:
        for _ in range(2):
            before = resources()
            with pytest.raises(IntegrationError, match=text) as caught:
                await secured.connect(config(server, backend))
            await asyncio.sleep(0.01)  # the event loop closes the socket
        assert resources() == before
        if name != "b: two writes":
            assert asyncpg.__version__ in str(caught.value)
            assert "supports asyncpg" in str(caught.value)

    monkeypatch.setattr(asyncpg, "connect", misbehaving)
    run(main, loop)


@pytest.mark.parametrize("uses_loop", [False, True])
def test_connection_that_asyncpg_opens_by_itself_is_refused(
    server: PostgresServer, loop: str, monkeypatch: pytest.MonkeyPatch, uses_loop: bool
) -> None:
    terminated = []

    class Foreign:
        def get_server_pid(self) -> int:
            return -1

        def terminate(self) -> None:
            terminated.append(self)

    async def misbehaving(*, loop: Any, **where: Any) -> Foreign:
        if uses_loop:
            await _writing(STARTUP)(loop, where)
        return Foreign()

    async def main() -> None:
        before = resources()
        with pytest.raises(IntegrationError, match="connects by itself"):
            await secured.connect(config(server))
        await asyncio.sleep(0.01)
        assert resources() == before

    monkeypatch.setattr(asyncpg, "connect", misbehaving)
    run(main, loop)
    assert len(terminated) == 1


class Failing(secured.Connection):
    def __new__(cls, *_: Any, **__: Any) -> Any:  # an instance without attributes could not be garbage-collected
        raise LookupError("no such connection")


def test_failure_after_connecting_closes_the_connection(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        await (await secured.connect(config(server, backend))).close()
        before = resources()
        for _ in range(3):
            with pytest.raises(LookupError):
                await secured.connect(config(server, backend), connection_class=Failing)
            await asyncio.sleep(0)
            connection = await secured.connect(config(server, backend))  # perhaps with the same descriptor
            assert await connection.fetchval("select 1") == 1
            await connection.close()
        assert resources() == before

    run(main, loop)


@pytest.mark.parametrize("kind", ["key", "process", "startup", "longer"])
def test_later_connection_may_only_send_the_cancel_request(
    server: PostgresServer, loop: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Assumption c."""

    async def connect_again(*, loop: Any, host: str, port: int, **_: Any) -> None:
        _, first = await loop.create_connection(lambda: Protocol(STARTUP), host, port)
        await first.has_received.wait()
        process_id, key = struct.unpack("!I4s", dict(split(first.received))[b"K"])
        request = messages.cancel_request(process_id, key)
        _, accepted = await loop.create_connection(lambda: Protocol(request), host, port)
        await asyncio.sleep(0)
        assert accepted.lost == [None]
        wrong = {
            "key": messages.cancel_request(process_id, key[:-1] + bytes([key[-1] ^ 1])),
            "process": messages.cancel_request(process_id + 1, key),
            "startup": STARTUP,
            "longer": request + b"\0",
        }[kind]
        await loop.create_connection(lambda: Protocol(wrong), host, port)

    async def main() -> None:
        with pytest.raises(IntegrationError, match="other purposes than cancel requests"):
            await secured.connect(config(server))

    monkeypatch.setattr(asyncpg, "connect", connect_again)
    run(main, loop)


def test_asyncpg_connects_and_cancels_as_assumed(
    server: PostgresServer, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Assumptions a, b and c, and that one cancellation needs one request."""
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    cancelled = []
    cancel_async = SecureStream.cancel_async

    def recorded(name: str) -> Any:
        original = getattr(secured.ConnectionLoop, name)

        async def record(self: Any, *arguments: Any, **keywords: Any) -> Any:
            calls.append((name, arguments[1:], keywords))
            return await original(self, *arguments, **keywords)

        return record

    async def cancel(stream: SecureStream) -> None:
        cancelled.append(stream.process_id)
        await cancel_async(stream)

    for name in ("create_connection", "create_unix_connection"):
        monkeypatch.setattr(secured.ConnectionLoop, name, recorded(name))
    monkeypatch.setattr(SecureStream, "cancel_async", cancel)

    async def main() -> None:
        connection = await secured.connect(config(server))
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await connection.fetchval("select pg_sleep(30)", timeout=0.05)
            assert await connection.fetchval("select 1") == 1
        assert calls == [("create_connection", (server.host, server.port), {})] * 3
        assert cancelled == [connection.get_server_pid()] * 2
        await connection.close()

    run(main, loop)


def test_asyncpg_accepts_the_arguments_that_it_gets(server: PostgresServer, loop: str) -> None:
    async def main() -> None:
        given: dict[str, Any] = {}
        original = asyncpg.connect

        async def record(**arguments: Any) -> Any:
            given.update(arguments)
            return await original(**arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncpg, "connect", record)
            connection = await secured.connect(config(server))
        await connection.close()
        parameters = set(inspect.signature(original).parameters)
        assert set(given) <= parameters
        # the environment would determine those that are omitted
        omitted = parameters - set(given)
        assert omitted <= {"dsn", "server_settings", "service", "servicefile"}

    run(main, loop)


def test_loop_of_the_connection_is_equal_to_the_real_loop(server: PostgresServer, loop: str) -> None:
    """Assumption d: asyncpg finds the current task by it."""

    async def main() -> None:
        connection = await secured.connect(config(server))
        running = asyncio.get_running_loop()
        assert connection._loop is not running
        assert connection._loop == running
        assert hash(connection._loop) == hash(running)
        assert connection._loop.time.__self__ is running
        assert asyncio.current_task(connection._loop) is asyncio.current_task()
        other = await secured.connect(config(server))
        assert other._loop == connection._loop != asyncio
        await other.close()
        await connection.close()

    run(main, loop)


@pytest.mark.parametrize("tls_mode", ["require", "disable"])
def test_transport_has_the_information_that_asyncpg_reads(
    server: PostgresServer, backend: str, loop: str, tls_mode: str
) -> None:
    """Assumption e."""

    async def main() -> None:
        binding = {} if tls_mode == "require" else {"channel_binding": "disable"}
        connection = await secured.connect(config(server, backend, tls_mode=tls_mode, **binding))
        transport = connection._transport
        assert transport.get_extra_info("socket").fileno() >= 0
        assert (transport.get_extra_info("ssl_object") is not None) is (tls_mode == "require")
        assert transport.get_extra_info("nothing", "default") == "default"
        await connection.close()

    run(main, loop)
