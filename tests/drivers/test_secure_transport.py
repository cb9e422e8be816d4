"""`SecureTransport`: flow control, greeting, errors of the protocol, close and abort, on every backend and loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

import babar_tls
from babar_tls import AsyncSession, SecureTransport

from .asyncpg_clients import both_loops, config, run
from .transports import BIG, Recorder, checked, ended, opened, query

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer

pytestmark = both_loops


def test_greeting_is_delivered_after_the_startup_message(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        recorder = await opened(config(server, backend))
        assert not recorder.inside  # not inside the driver's call of `write`
        await recorder.until_ready()
        assert recorder.pieces[0].startswith(b"R\0\0\0\x08\0\0\0\0")
        await ended(recorder)

    checked(main, loop)


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
@pytest.mark.parametrize("pauses", ["no", "inside", "later"])
def test_nothing_is_delivered_while_the_protocol_has_paused(
    server: PostgresServer, backend: str, loop: str, *, pauses: str, tls: bool
) -> None:
    target = config(server, backend)
    if not tls:
        if backend != "stdlib":
            pytest.skip("without TLS, the backend is not used")
        target = server.config(user="app", password="secret", host=str(server.socket_dir), require_auth="scram-sha-256")

    async def main() -> None:
        recorder = await opened(target, pauses)
        await recorder.until_ready()
        recorder.size = 0
        recorder.transport.write(BIG)
        await recorder.until(lambda: recorder.size > 20_000_000)
        await recorder.until_ready()
        assert recorder.late == 0
        await ended(recorder)

    checked(main, loop)


def test_paused_protocol_gets_nothing_and_then_everything(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        recorder = await opened(config(server, backend))
        await recorder.until_ready()
        recorder.pause()
        recorder.resume()
        recorder.pause()  # before the resumption has taken effect
        assert not recorder.transport.is_reading()
        size = recorder.size
        recorder.transport.write(BIG)
        await asyncio.sleep(0.2)
        assert recorder.size == size
        recorder.resume()
        await recorder.until(lambda: recorder.size > 20_000_000)
        await recorder.until_ready()
        assert recorder.late == 0
        await ended(recorder)

    checked(main, loop)


@pytest.mark.parametrize("moment", ["greeting", "reading", "resumed"])
def test_exception_in_data_received_ends_the_connection(
    server: PostgresServer, backend: str, loop: str, moment: str
) -> None:
    failure = RuntimeError("a mistake of the driver")
    reports: list[Any] = []

    async def main() -> None:
        reports.clear()
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context["exception"]))
        if moment == "greeting":
            with pytest.raises(RuntimeError, match="a mistake of the driver"):
                await opened(config(server, backend), raises=failure)
        else:
            recorder = await opened(config(server, backend))
            await recorder.until_ready()
            if moment == "reading":
                recorder.raises = failure
            recorder.transport.write(BIG)
            if moment == "resumed":
                await recorder.until(lambda: recorder.size > 1_000_000)
                recorder.pause()
                recorder.raises = failure
                recorder.resume()
            assert await recorder.lost is failure
        assert reports == [failure]

    checked(main, loop)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_write_after_the_end_is_ignored(server: PostgresServer, backend: str, loop: str, end: str) -> None:
    async def main() -> None:
        recorder = await opened(config(server, backend))
        await recorder.until_ready()
        transport = recorder.transport
        getattr(transport, end)()
        assert transport.is_closing()
        for _ in range(10):
            transport.write(BIG)
            transport.writelines([BIG, BIG])
            transport.pause_reading()
            transport.resume_reading()
            transport.close()
            transport.abort()
        assert await recorder.lost is None
        transport.write(BIG)
        transport.pause_reading()
        transport.resume_reading()
        transport.close()
        transport.abort()
        await asyncio.sleep(0.01)
        assert recorder.losses == 1

    checked(main, loop)


def test_close_sends_what_was_written(server: PostgresServer, backend: str, loop: str) -> None:
    table = f"close_{backend}_{loop}"

    async def main() -> None:
        recorder = await opened(config(server, backend))
        await recorder.until_ready()
        recorder.transport.write(query(f"insert into {table} values ('{'y' * 5_000_000}')"))
        recorder.transport.close()
        assert await recorder.lost is None
        while await asyncio.to_thread(server.sql, f"select count(*) from {table}") != "1":  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.05)

    server.sql(f"create table {table} (a text); grant all on {table} to app")
    run(main, loop)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_end_with_a_server_that_does_not_read_does_not_hang(
    server: PostgresServer, backend: str, loop: str, end: str
) -> None:
    async def main() -> None:
        recorder = await opened(config(server, backend))
        await recorder.until_ready()
        recorder.transport.write(query("select pg_sleep(1)"))
        for _ in range(10):
            recorder.transport.write(BIG[:5] + bytes(4_000_000))
        assert recorder.writing_paused
        assert recorder.transport.get_write_buffer_size() > recorder.transport.get_write_buffer_limits()[1]
        getattr(recorder.transport, end)()
        if end == "close":  # as every asyncio transport, it waits until the server reads; `abort` does not
            recorder.transport.abort()
        assert await asyncio.wait_for(recorder.lost, 10) is None
        assert recorder.losses == 1

    checked(main, loop)


def test_refused_startup_message_raises_the_error(server: PostgresServer, backend: str, loop: str) -> None:
    def refuse(_data: bytes) -> None:
        raise babar_tls.IntegrationError("no")

    async def main() -> None:
        session = await AsyncSession.connect(config(server, backend))
        transport = SecureTransport(session.detach(), Recorder(), refuse)
        with pytest.raises(babar_tls.IntegrationError, match="no"):
            await transport.open(asyncio.get_running_loop())
        await asyncio.sleep(0.01)

    checked(main, loop)


def test_data_before_the_greeting_is_refused(server: PostgresServer, backend: str, loop: str) -> None:
    class Hasty(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.write(BIG)

    async def main() -> None:
        session = await AsyncSession.connect(config(server, backend))
        recorder = Hasty()
        with pytest.raises(babar_tls.IntegrationError, match="before it received the greeting"):
            await SecureTransport(session.detach(), recorder).open(asyncio.get_running_loop())
        assert isinstance(await recorder.lost, babar_tls.IntegrationError)

    checked(main, loop)


def test_cancelled_open_closes_the_stream(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        for turns in range(5):
            session = await AsyncSession.connect(config(server, backend))
            stream = session.detach()
            transport = SecureTransport(stream, Recorder())
            task = asyncio.ensure_future(transport.open(asyncio.get_running_loop()))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
                transport.abort()
                continue
            stream.close()
            await asyncio.sleep(0.01)

    checked(main, loop)


def test_transport_reports_its_connection(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        recorder = await opened(config(server, backend))
        transport = recorder.transport
        assert transport.get_extra_info("peername")[1] == server.port
        assert transport.get_extra_info("ssl_object") is not None
        assert transport.get_extra_info("nothing", 7) == 7
        assert transport.get_protocol() is recorder
        assert not transport.can_write_eof()
        transport.set_write_buffer_limits(1000, 10)
        assert transport.get_write_buffer_limits() == (10, 1000)
        await recorder.until_ready()
        await ended(recorder)

    checked(main, loop)
