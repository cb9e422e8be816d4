"""Sessions, blocking and asyncio, on a real server."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import babar_tls
from babar_tls import AsyncSession, Busy, Closed, Config, ConfigError, ServerError, Session, TlsMode

from .conftest import PASSWORD, major_version, require_version
from .drivers import BACKENDS, STYLES, connected

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer

SERIES = "copy (select generate_series(1, 200000)) to stdout"


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_connect_accepts_connection_string_and_overrides(tls_server: PostgresServer) -> None:
    conninfo = tls_server.conninfo(user="nobody", password=tls_server.password)
    with babar_tls.connect(conninfo, user="postgres") as session:
        assert session.query("select current_user") == [("postgres",)]


def test_connect_async_accepts_connection_string_and_overrides(tls_server: PostgresServer) -> None:
    async def main() -> list[tuple[str | None, ...]]:
        async with await babar_tls.connect_async(tls_server.config(), database="template1") as session:
            return await session.query("select current_database()")

    assert asyncio.run(main()) == [("template1",)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_report_of_verify_full_and_required_binding_agrees_with_pg_stat_ssl(
    tls_server: PostgresServer, backend: str, style: str
) -> None:
    conninfo = tls_server.conninfo(sslmode="verify-full", channel_binding="require", host="localhost")
    config = Config.from_conninfo(conninfo, tls_backend=backend)
    system_user = "system_user" if major_version(tls_server) >= 16 else "'scram-sha-256:postgres'"
    with connected(config, style) as session:
        ((tls, version, cipher, user),) = session.query(
            f"select ssl, version, cipher, {system_user} from pg_stat_ssl where pid = pg_backend_pid()"
        )
        report = session.security
    assert (tls, version, cipher) == ("t", report.tls_version, report.cipher)
    assert user == "scram-sha-256:postgres"
    assert (report.auth_method, report.gs2_flag) == ("scram-sha-256-plus", "p")
    assert (report.channel_binding_type, report.channel_binding_hash) == ("tls-server-end-point", "sha256")
    assert (report.verified, report.server_name, report.negotiation) == ("full", "localhost", "postgres")
    assert report.scram_iterations == 4096
    assert set(report.timings) == {"resolve", "tcp", "negotiate", "tls", "auth", "ready"}
    assert report.timings["tls"] > 0
    assert report.timings["auth"] > 0
    assert report.as_dict()["peer_fingerprint_sha256"] == report.peer_fingerprint_sha256


@pytest.mark.parametrize("backend", BACKENDS)
def test_round_trips_of_report_are_those_that_a_proxy_counts(
    tls_server: PostgresServer, backend: str, style: str
) -> None:
    """The TCP handshake counts too."""
    turns = 0
    listener = socket.create_server(("127.0.0.1", 0))

    def relay() -> None:
        nonlocal turns
        client, _ = listener.accept()
        server = socket.create_connection((tls_server.host, tls_server.port))
        last = None
        client.setblocking(False)
        server.setblocking(False)
        while True:
            for source, sink in ((client, server), (server, client)):
                try:
                    data = source.recv(1 << 16)
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    data = b""
                if not data:
                    client.close()
                    server.close()
                    return
                if source is server and last is client and not done.is_set():
                    turns += 1
                last = source
                sink.sendall(data)
            time.sleep(0.0005)

    done = threading.Event()
    thread = threading.Thread(target=relay)
    thread.start()
    try:
        config = tls_server.config(tls_backend=backend, port=listener.getsockname()[1])
        with connected(config, style) as session:
            done.set()
            counted = session.security.round_trips
    finally:
        thread.join()
        listener.close()
    assert counted == turns + 1


def test_direct_tls_saves_a_round_trip(tls_server: PostgresServer, style: str) -> None:
    require_version(tls_server, 17, "direct TLS")
    with connected(tls_server.config(), style) as session:
        usual = session.security.round_trips
    with connected(tls_server.config(tls_negotiation="direct"), style) as session:
        assert session.security.round_trips == usual - 1
        assert (session.security.negotiation, session.security.alpn) == ("direct", "postgresql")


def test_query_returns_text_and_null(tls_server: PostgresServer, style: str) -> None:
    """Values are text in UTF-8, NULL is None, and the last statement with rows determines the result."""
    with connected(tls_server.config(), style) as session:
        assert session.query("select 1, null, 'schön', ''") == [("1", None, "schön", "")]
        assert session.query("select 1; select 2 union all select 3 order by 1; set application_name = 'x'") == [
            ("2",),
            ("3",),
        ]
        assert session.query("") == []
        assert session.query("create temp table t (a int)") == []


def test_params_change_with_the_session(tls_server: PostgresServer, style: str) -> None:
    config = tls_server.config(application_name="first", server_settings={"DateStyle": "German"}, options="-c jit=off")
    with connected(config, style) as session:
        assert session.params["application_name"] == "first"
        assert session.params["DateStyle"].startswith("German")
        assert session.query("show jit") == [("off",)]
        session.query("set application_name = 'second'")
        assert session.params["application_name"] == "second"
        with pytest.raises(TypeError):
            session.params["application_name"] = "third"


def test_error_in_query_leaves_session_usable(tls_server: PostgresServer, style: str) -> None:
    with connected(tls_server.config(), style) as session:
        with pytest.raises(ServerError) as caught:
            session.query("select nonsense")
        assert (caught.value.code, caught.value.position, caught.value.severity) == ("42703", 8, "ERROR")
        assert "connection to server" not in str(caught.value)
        with pytest.raises(ConfigError):
            session.query("select '\0'")
        with pytest.raises(ServerError, match="COPY FROM STDIN is not supported"):
            session.query("create temp table c (a int); copy c from stdin")
        assert session.query("select 1") == [("1",)]


def test_copy_to_yields_each_copy_data_message(tls_server: PostgresServer, style: str) -> None:
    with connected(tls_server.config(), style) as session:
        chunks = list(session.copy_to(SERIES))
        assert len(chunks) == 200_000
        assert b"".join(chunks) == b"".join(b"%d\n" % n for n in range(1, 200_001))
        assert session.query("select 1") == [("1",)]


def test_copy_to_with_another_statement_is_error_and_session_continues(tls_server: PostgresServer, style: str) -> None:
    with connected(tls_server.config(), style) as session:
        with pytest.raises(ConfigError, match="requires a COPY"):
            list(session.copy_to("select 1"))
        with pytest.raises(ServerError):
            list(session.copy_to("copy nothing to stdout"))
        with pytest.raises(ServerError):
            list(session.copy_to("create temp table c (a int); copy c from stdin"))
        assert session.query("select 1") == [("1",)]


def test_abandoned_copy_is_cancelled_before_next_query(tls_server: PostgresServer) -> None:
    """A copy whose iterator still exists makes the session busy."""
    with Session.connect(tls_server.config()) as session:
        chunks = session.copy_to("copy (select generate_series(1, 50000000)) to stdout")
        assert next(chunks) == b"1\n"
        with pytest.raises(Busy):
            session.query("select 1")
        del chunks
        assert session.query("select 1") == [("1",)]


def test_abandoned_copy_is_cancelled_before_next_query_in_asyncio(tls_server: PostgresServer) -> None:
    async def main() -> None:
        async with await AsyncSession.connect(tls_server.config()) as session:
            chunks = session.copy_to("copy (select generate_series(1, 50000000)) to stdout")
            async for chunk in chunks:
                assert chunk == b"1\n"
                break
            with pytest.raises(Busy):
                await session.query("select 1")
            del chunks
            assert await session.query("select 1") == [("1",)]

    asyncio.run(main())


@pytest.mark.parametrize("style", STYLES)
def test_abandoned_copy_that_cannot_be_cancelled_closes_session(
    tls_server: PostgresServer, style: str, tmp_path: Any
) -> None:
    """Otherwise its rows could be taken for those of another query."""
    roots = tmp_path / "roots.pem"
    roots.write_bytes(tls_server.root_cert_path.read_bytes())
    with connected(tls_server.config(tls_root_cert_path=str(roots)), style) as session:
        chunks = session.copy_to("copy (select generate_series(1, 50000000)) to stdout")
        assert next(iter(chunks)) == b"1\n"
        roots.unlink()
        del chunks
        with pytest.raises(ConfigError, match="does not exist"):
            session.query("select 1")
        assert session.closed
        with pytest.raises(Closed):
            session.query("select 2")


@pytest.mark.parametrize("style", STYLES)
def test_copy_of_closed_session_is_error(tls_server: PostgresServer, style: str) -> None:
    """A copy that was read to its end stays at its end."""
    with connected(tls_server.config(), style) as session:
        done = iter(session.copy_to("copy (select 1) to stdout"))
        assert list(done) == [b"1\n"]
        chunks = iter(session.copy_to(SERIES))
        next(chunks)
        session.close()
        with pytest.raises(Closed):
            next(chunks)
        assert list(done) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may strike in a destructor
def test_interrupt_leaves_session_usable_or_closed(tls_server: PostgresServer) -> None:
    """Ctrl-C arrives at many moments of a query."""
    left = []

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for round_ in range(60):
            with Session.connect(tls_server.config(tls_mode=TlsMode.DISABLE)) as session:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.00002 * (round_ + 1))
                    for _ in range(50):
                        session.query("select 1")
                except KeyboardInterrupt:
                    pass
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                try:
                    assert session.query("select 2") == [("2",)]
                except Closed:
                    pass
                except Busy as exc:
                    left.append(exc)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert left == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", [TlsMode.DISABLE, TlsMode.REQUIRE])
def test_cancel_from_another_thread_ends_query(tls_server: PostgresServer, backend: str, mode: TlsMode) -> None:
    with Session.connect(tls_server.config(tls_backend=backend, tls_mode=mode)) as session:
        canceller = threading.Thread(target=lambda: (_wait_until_active(tls_server, session), session.cancel()))
        canceller.start()
        with pytest.raises(ServerError) as caught:
            session.query("select pg_sleep(60)")
        canceller.join()
        assert caught.value.code == "57014"
        assert session.query("select 1") == [("1",)]


def _wait_until_active(server: PostgresServer, session: Session) -> None:
    with Session.connect(server.config()) as observer:
        while observer.query(
            f"select 1 from pg_stat_activity where pid = {session.backend_pid} and wait_event = 'PgSleep'"
        ) != [("1",)]:
            time.sleep(0.01)


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancel_from_another_task_ends_query(tls_server: PostgresServer, backend: str) -> None:
    async def main() -> None:
        async with await AsyncSession.connect(tls_server.config(tls_backend=backend)) as session:
            task = asyncio.create_task(session.query("select pg_sleep(60)"))
            while not task.done():
                await asyncio.sleep(0.05)
                await session.cancel()
            with pytest.raises(ServerError) as caught:
                await task
            assert caught.value.code == "57014"
            assert await session.query("select 1") == [("1",)]

    asyncio.run(main())


def test_cancelling_task_of_query_closes_session(tls_server: PostgresServer) -> None:
    async def main() -> None:
        session = await AsyncSession.connect(tls_server.config())
        task = asyncio.create_task(session.query("select pg_sleep(60)"))
        await asyncio.sleep(0.1)
        with pytest.raises(Busy):
            await session.query("select 1")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.closed
        with pytest.raises(Closed):
            await session.query("select 1")

    asyncio.run(main())


def test_fatal_error_has_text_of_server_and_closes_session(tls_server: PostgresServer, style: str) -> None:
    with connected(tls_server.config(), style) as session:
        with pytest.raises(ServerError) as caught:
            session.query("select pg_terminate_backend(pg_backend_pid())")
        assert caught.value.code == "57P01"
        assert session.closed
        with pytest.raises(Closed):
            session.query("select 1")


def test_query_of_session_closed_by_another_task_is_closed_error(tls_server: PostgresServer) -> None:
    """The error does not blame the server."""

    async def main() -> None:
        session = await AsyncSession.connect(tls_server.config())
        task = asyncio.create_task(session.query("select pg_sleep(60)"))
        await asyncio.sleep(0.1)
        await session.close()
        with pytest.raises(Closed, match="closed while it was in use"):
            await task

    asyncio.run(main())


def test_session_can_be_closed_twice(tls_server: PostgresServer, style: str) -> None:
    with connected(tls_server.config(), style) as session:
        session.close()
        session.close()
        assert session.closed
        with pytest.raises(Closed, match="the session is closed"):
            session.query("select 1")


def test_close_leaves_no_complaint_in_server_log(tls_server: PostgresServer, style: str) -> None:
    before = len(tls_server.log())
    with connected(tls_server.config(), style) as session:
        pid = session.backend_pid
    with Session.connect(tls_server.config()) as observer:
        while observer.query(f"select 1 from pg_stat_activity where pid = {pid}"):
            time.sleep(0.01)
    log = tls_server.log()[before:]
    assert "unexpected EOF" not in log
    assert "could not" not in log
    assert "SSL error" not in log


def test_unix_socket_has_no_tls_and_no_binding(tls_server: PostgresServer, style: str) -> None:
    with connected(tls_server.config(host=str(tls_server.socket_dir)), style) as session:
        assert session.query("select inet_client_addr()") == [(None,)]
        assert not session.security.tls
        assert (session.security.auth_method, session.security.gs2_flag) == ("scram-sha-256", "n")
        assert session.security.round_trips == 3
    with pytest.raises(ConfigError, match="channel binding required, but SSL not in use"):
        tls_server.config(host=str(tls_server.socket_dir), channel_binding="require")


def test_hostaddr_is_connected_to_and_host_is_verified(tls_server: PostgresServer, style: str) -> None:
    """`tls_server_name` is verified in place of `host`."""
    config = tls_server.config(host="localhost", hostaddr="127.0.0.1")
    with connected(config, style) as session:
        assert session.security.server_name == "localhost"
    with connected(
        config.replace(host="db.invalid", hostaddr="127.0.0.1", tls_server_name="localhost"), style
    ) as session:
        assert session.security.server_name == "localhost"


def test_nodelay_and_keepalives_are_set(tls_server: PostgresServer) -> None:
    for wanted in (True, False):
        with Session.connect(tls_server.config(keepalives=wanted)) as session:
            sock = session._connection._socket
            assert sock is not None
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is wanted


def test_scram_keys_are_cached_unless_disabled(
    tls_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    derived = []
    real = babar_tls._native.functions.pbkdf2_hmac_sha256

    def counting(*args: Any, **kwargs: Any) -> bytes:
        derived.append(args)
        return bytes(real(*args, **kwargs))

    monkeypatch.setattr(babar_tls._native.functions, "pbkdf2_hmac_sha256", counting)
    monkeypatch.setattr("babar_tls.net.blocking.key_cache", babar_tls.net.key_cache.KeyCache())
    for cached, expected in ((True, 1), (False, 4)):
        for _ in range(3):
            config = tls_server.config(user="scram_role", password=PASSWORD, scram_key_cache=cached)
            with connected(config, style) as session:
                assert session.security.server_authenticated
        assert len(derived) == expected


def test_scram_keys_replace_password(tls_server: PostgresServer, style: str) -> None:
    verifier = tls_server.sql("select rolpassword from pg_authid where rolname = 'scram_role'").strip()
    iterations, salt = verifier.split("$")[1].split(":")
    keys = babar_tls.crypto.scram_keys(PASSWORD, _decode(salt), int(iterations))
    config = tls_server.config(
        user="scram_role",
        password=None,
        scram_client_key=keys.client_key,
        scram_server_key=keys.server_key,
    )
    with connected(config, style) as session:
        assert session.security.auth_method == "scram-sha-256-plus"


def _decode(text: str) -> bytes:
    import base64

    return base64.b64decode(text)


def test_server_accepts_verifier_of_scram_verifier(tls_server: PostgresServer) -> None:
    verifier = babar_tls.crypto.scram_verifier("kölsch", iterations=1000)
    tls_server.sql(f"create role made_here login password '{verifier}'")
    with Session.connect(tls_server.config(user="made_here", password="kölsch")) as session:
        assert session.security.scram_iterations == 1000


def test_many_threads_can_connect(tls_server: PostgresServer) -> None:
    """They share one backend and its cached context."""
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                with Session.connect(tls_server.config(channel_binding="require")) as session:
                    assert session.query("select 1") == [("1",)]
        except BaseException as exc:
            problems.append(exc)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_many_tasks_can_connect(tls_server: PostgresServer) -> None:
    async def one() -> str:
        async with await AsyncSession.connect(tls_server.config(channel_binding="require")) as session:
            return session.security.auth_method

    async def main() -> list[str]:
        return await asyncio.gather(*(one() for _ in range(30)))

    assert set(asyncio.run(main())) == {"scram-sha-256-plus"}
