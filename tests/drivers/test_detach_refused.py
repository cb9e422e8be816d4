"""When `detach` is refused, and `close` from another thread or task at the same time."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Busy, Closed, Config, Error, ServerError, Session
from babar_tls.net.blocking import BlockingConnection

from .detached_clients import Client, wait_until_asleep

if TYPE_CHECKING:
    from babar_tls.net.secure_stream import SecureStream
    from babar_tls.testing import PostgresServer

SLEEP = "select pg_sleep(60)"
COPY = "copy (select generate_series(1, 100000)) to stdout"


def target(server: PostgresServer, backend: str = "stdlib") -> Config:
    return server.config(user="app", password="secret", tls_backend=backend, channel_binding="require")


def test_busy_during_a_query(server: PostgresServer) -> None:
    errors: list[BaseException] = []

    def sleep(session: Session) -> None:
        try:
            session.query(SLEEP)
        except ServerError as error:
            errors.append(error)

    with Session.connect(target(server)) as session:
        thread = threading.Thread(target=sleep, args=(session,))
        thread.start()
        try:
            wait_until_asleep(server, session.backend_pid)
            with pytest.raises(Busy):
                session.detach()
        finally:
            session.cancel()
            thread.join()
        assert [type(error) for error in errors] == [ServerError]
        with Client(session.detach()) as client:
            assert client.value("select 'alive'") == "alive"


def test_busy_during_a_query_of_another_task(server: PostgresServer) -> None:
    async def main() -> None:
        async with await AsyncSession.connect(target(server)) as session:
            query = asyncio.ensure_future(session.query("select pg_sleep(0.2)"))
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                session.detach()
            await query
            session.detach().close()

    asyncio.run(main())


def test_busy_during_a_copy(server: PostgresServer, backend: str) -> None:
    with Session.connect(target(server, backend)) as session:
        items = session.copy_to(COPY)
        assert next(items) == b"1\n"
        with pytest.raises(Busy):
            session.detach()
        assert sum(1 for _ in items) == 99_999
        with Client(session.detach()) as client:
            assert client.value("select 'alive'") == "alive"


def test_busy_during_a_copy_on_an_event_loop(server: PostgresServer, backend: str) -> None:
    async def main() -> SecureStream:
        async with await AsyncSession.connect(target(server, backend)) as session:
            items = session.copy_to(COPY)
            assert await anext(items) == b"1\n"
            with pytest.raises(Busy):
                session.detach()
            assert len([each async for each in items]) == 99_999
            return session.detach()

    with Client(asyncio.run(main())) as client:
        assert client.value("select 'alive'") == "alive"


def test_session_with_a_dropped_copy_is_detached_after_another_query(server: PostgresServer, backend: str) -> None:
    with Session.connect(target(server, backend)) as session:
        assert next(session.copy_to(COPY)) == b"1\n"  # the iterator is dropped at once
        with pytest.raises(Busy):
            session.detach()
        assert session.query("select 1") == [("1",)]
        with Client(session.detach()) as client:
            assert client.value("select 'alive'") == "alive"


def test_closed_session_is_refused(server: PostgresServer) -> None:
    session = Session.connect(target(server))
    session.close()
    with pytest.raises(Closed):
        session.detach()


def test_closed_session_of_an_event_loop_is_refused(server: PostgresServer) -> None:
    async def main() -> None:
        session = await AsyncSession.connect(target(server))
        await session.close()
        with pytest.raises(Closed):
            session.detach()

    asyncio.run(main())


def test_detached_session_refuses_other_operations(server: PostgresServer) -> None:
    session = Session.connect(target(server))
    stream = session.detach()
    try:
        with pytest.raises(Closed):
            session.detach()
        with pytest.raises(Closed):
            session.query("select 1")
        with pytest.raises(Closed):
            next(session.copy_to(COPY))
    finally:
        stream.close()


def test_session_of_another_event_loop_is_refused(server: PostgresServer) -> None:
    async def detach(session: AsyncSession) -> None:
        with pytest.raises(Error, match="event loop"):
            session.detach()

    async def main() -> None:
        async with await AsyncSession.connect(target(server)) as session:
            await asyncio.to_thread(lambda: asyncio.run(detach(session)))
            assert await session.query("select 1") == [("1",)]

    asyncio.run(main())


def test_notification_that_arrived_before_detach_is_delivered(server: PostgresServer, backend: str) -> None:
    async def main() -> SecureStream:
        async with await AsyncSession.connect(target(server, backend)) as session:
            await session.query("listen topic")
            await asyncio.to_thread(server.sql, "notify topic, 'hello'")
            return session.detach()

    with Client(asyncio.run(main())) as client:
        kind, payload = client.message()
        assert (kind, payload[4:]) == (b"A", b"topic\0hello\0")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_close_from_another_thread_during_detach_wins(
    server: PostgresServer, backend: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    session = Session.connect(target(server, backend))
    hand_over = BlockingConnection.hand_over
    sockets: list[Any] = []

    def close() -> None:
        thread = threading.Thread(target=session.close)
        thread.start()
        thread.join()

    def hand_over_and_close(connection: BlockingConnection) -> Any:
        if moment == "before":
            close()
        result = hand_over(connection)
        sockets.append(result[0])
        if moment == "after":
            close()
        return result

    monkeypatch.setattr(BlockingConnection, "hand_over", hand_over_and_close)
    with pytest.raises(Closed, match="another thread"):
        session.detach()
    assert session.closed
    assert [each.fileno() for each in sockets] == [-1]


def test_close_from_another_thread_at_a_random_moment(server: PostgresServer) -> None:
    """Either call may win. A stream that was returned works, and `close` does not end it."""
    for _ in range(30):
        session = Session.connect(target(server))
        start = threading.Barrier(2)
        closing = threading.Thread(target=lambda start=start, session=session: (start.wait(), session.close()))
        closing.start()
        start.wait()
        try:
            stream = session.detach()
        except (Closed, Busy):
            closing.join()
        else:
            closing.join()
            with Client(stream) as client:
                assert client.value("select 'alive'") == "alive"
        assert session.closed
