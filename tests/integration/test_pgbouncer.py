"""Connections through PgBouncer, which terminates TLS."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import (
    AsyncSession,
    AuthError,
    CertificateError,
    ChannelBindingError,
    Config,
    InvalidPassword,
    ServerError,
    Session,
    TlsError,
)
from babar_tls.bench.network import CountingProxy
from babar_tls.testing import CertificateAuthority, PgBouncer, PostgresError, PostgresServer, TlsInterceptor
from babar_tls.testing._reaper import is_alive

from .conftest import PASSWORD
from .drivers import BACKENDS, STYLES, connected

if TYPE_CHECKING:
    from collections.abc import Iterator

both = pytest.mark.parametrize("style", STYLES)
every_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(scope="module")
def pooler(pgbouncer_installed: None, tls_server: PostgresServer) -> Iterator[PgBouncer]:
    """Start PgBouncer in front of the server."""
    with PgBouncer(tls_server) as running:
        yield running


def unbound(pooler: PgBouncer, backend: str = "stdlib", **changes: Any) -> Config:
    """Return a configuration without channel binding that allows only SCRAM."""
    config = pooler.config(user="scram_role", password=PASSWORD, tls_backend=backend)
    return config.replace(channel_binding="disable", require_auth="scram-sha-256", **changes)


@every_backend
@both
def test_report_describes_the_connection_to_the_pooler(
    pooler: PgBouncer, tls_server: PostgresServer, backend: str, style: str
) -> None:
    """verify-full verifies the pooler, and SCRAM is not bound. The pooler connects to the server separately."""
    config = Config.from_conninfo(pooler.conninfo(host="localhost"), tls_backend=backend)
    with connected(config, style) as session:
        rows = session.query("select current_user, ssl from pg_stat_ssl where pid = pg_backend_pid()")
        report, params = session.security, session.params
    assert rows == [("postgres", "t")]
    assert pooler.certificate is not None
    assert tls_server.certificate is not None
    assert report.peer_certificate == pooler.certificate.der != tls_server.certificate.der
    assert (report.tls_version, report.verified, report.server_name) == ("TLSv1.3", "full", "localhost")
    assert (report.negotiation, report.alpn) == ("postgres", None)
    assert (report.auth_method, report.gs2_flag, report.server_authenticated) == ("scram-sha-256", "y", True)
    assert (report.channel_binding_type, report.channel_binding_hash) == (None, None)
    assert params["server_version"].split()[0] == tls_server.version


@both
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"user": "nobody_here"}], ids=["password", "user"])
def test_refused_password_is_invalid_password(
    pooler: PgBouncer, style: str, pipelining: bool, changes: dict[str, Any]
) -> None:
    """The error keeps PgBouncer's SQLSTATE, 08P01."""
    config = unbound(pooler, pipelining=pipelining).replace(**changes)
    with pytest.raises(InvalidPassword) as caught, connected(config, style):
        pass
    assert caught.value.code == "08P01"
    assert "Check the user and the password" in str(caught.value)


@pytest.mark.parametrize("auth_type", ["md5", "plain"])
@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"user": "nobody_here"}], ids=["password", "user"])
def test_refused_password_is_invalid_password_without_scram(
    pgbouncer_installed: None, tls_server: PostgresServer, auth_type: str, changes: dict[str, Any]
) -> None:
    with PgBouncer(tls_server, settings={"auth_type": auth_type}) as running:
        config = running.config(user="scram_role", password=PASSWORD).replace(**changes)
        with pytest.raises(InvalidPassword):
            Session.connect(config)


def test_unknown_database_is_not_a_login_error(pooler: PgBouncer) -> None:
    with pytest.raises(ServerError, match="does not exist") as caught:
        Session.connect(unbound(pooler).replace(database="no_such_database"))
    assert not isinstance(caught.value, AuthError)


def test_error_about_password_from_file_names_the_file(pooler: PgBouncer, tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    path.write_text("*:*:*:*:wrong\n")
    path.chmod(0o600)
    with pytest.raises(InvalidPassword, match="password retrieved from file"):
        Session.connect(unbound(pooler).replace(password=None, passfile=path))


@every_backend
@both
@pytest.mark.parametrize("pipelining", [True, False])
def test_required_binding_fails_with_error_that_names_poolers(
    pooler: PgBouncer, backend: str, style: str, pipelining: bool
) -> None:
    config = pooler.config(tls_backend=backend, channel_binding="require", pipelining=pipelining)
    with pytest.raises(ChannelBindingError, match="server did not offer") as caught, connected(config, style):
        pass
    assert not isinstance(caught.value, ServerError)
    assert "PgBouncer" in str(caught.value.remedy)


@pytest.mark.parametrize("pipelining", [True, False])
def test_no_proof_is_sent_if_the_binding_is_refused(pooler: PgBouncer, pipelining: bool) -> None:
    """A login that succeeds is the counter-check: it sends a proof."""
    authority = CertificateAuthority()
    seen = {}
    for binding in ("prefer", "require"):
        with TlsInterceptor(pooler.host, pooler.port, authority.issue("127.0.0.1")) as reader:
            roots = pooler.root_cert_path.with_name(f"reader-{binding}-{pipelining}.crt")
            authority.write(roots)
            config = pooler.config(port=reader.port, tls_root_cert_path=str(roots), channel_binding=binding)
            try:
                Session.connect(config.replace(pipelining=pipelining)).close()
            except ChannelBindingError:
                assert binding == "require"
        seen[binding] = reader.seen
    assert b"SCRAM-SHA-256\0" in seen["require"]
    assert (b",,n=,r=" in seen["require"]) is pipelining  # the first message of SCRAM contains no proof
    assert b",p=" in seen["prefer"]
    assert b",p=" not in seen["require"]


@every_backend
@both
def test_pipelined_scram_saves_a_round_trip(pooler: PgBouncer, backend: str, style: str) -> None:
    """The report has the number that a proxy counts."""
    trips = {}
    with CountingProxy(pooler.host, pooler.port) as proxy:
        for pipelining in (True, False):
            config = unbound(pooler, backend, port=proxy.port, pipelining=pipelining)
            for _ in range(2):
                proxy.take()
                with connected(config, style) as session:
                    trips[pipelining] = session.security.round_trips
                    assert proxy.take() == trips[pipelining]
    # TCP; SSLRequest; TLS 1.3; StartupMessage with client-first; client-final. PgBouncer accepts any usual group.
    assert trips == {True: 5, False: 6}


@pytest.mark.usefixtures("pooler")
@both
def test_scram_works_with_auth_query(tls_server: PostgresServer, style: str) -> None:
    """SCRAM's first message must not be lost while PgBouncer queries the server for the verifier (`auth_query`)."""
    users = tls_server.write_file("pgbouncer-users", f'"postgres" "{tls_server.password}"\n'.encode())
    query = "SELECT usename, passwd FROM pg_shadow WHERE usename = $1"
    settings = {"auth_file": str(users), "auth_user": "postgres", "auth_query": query}
    with PgBouncer(tls_server, settings=settings) as asking:
        for _ in range(2):
            with connected(unbound(asking), style) as session:
                assert session.query("select current_user") == [("scram_role",)]
                assert session.security.round_trips == 5


@every_backend
def test_cancel_through_the_pooler_ends_the_query(pooler: PgBouncer, tls_server: PostgresServer, backend: str) -> None:
    with Session.connect(unbound(pooler, backend)) as session:
        canceller = threading.Thread(target=lambda: (_wait_until_asleep(tls_server), session.cancel()))
        canceller.start()
        with pytest.raises(ServerError) as caught:
            session.query("select pg_sleep(60)")
        canceller.join()
        assert caught.value.code == "57014"
        assert session.query("select 1") == [("1",)]


@every_backend
def test_cancel_in_asyncio_through_the_pooler_ends_the_query(
    pooler: PgBouncer, tls_server: PostgresServer, backend: str
) -> None:
    async def main() -> None:
        async with await AsyncSession.connect(unbound(pooler, backend)) as session:
            task = asyncio.create_task(session.query("select pg_sleep(60)"))
            await asyncio.to_thread(_wait_until_asleep, tls_server)
            await session.cancel()
            with pytest.raises(ServerError) as caught:
                await task
            assert caught.value.code == "57014"
            assert await session.query("select 1") == [("1",)]

    asyncio.run(main())


def _wait_until_asleep(server: PostgresServer) -> None:
    while server.sql("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") != "1":
        time.sleep(0.01)


@both
def test_server_connections_are_reused(pooler: PgBouncer, style: str) -> None:
    found = set()
    for _ in range(20):
        with connected(unbound(pooler), style) as session:
            found.add(session.query("select pg_backend_pid()")[0])
    assert len(found) < 10  # one, and another if it was not reset yet when the next client connected


@every_backend
@both
def test_copy_of_several_megabytes_is_complete(pooler: PgBouncer, backend: str, style: str) -> None:
    rows = 40_000
    with connected(unbound(pooler, backend), style) as session:
        sql = f"copy (select lpad(i::text, 100, '.') from generate_series(1, {rows}) i) to stdout"
        received = b"".join(session.copy_to(sql))
    assert received == b"".join(b"%s\n" % str(i).encode().rjust(100, b".") for i in range(1, rows + 1))


@every_backend
@both
def test_wrong_name_is_refused(pooler: PgBouncer, tls_server: PostgresServer, backend: str, style: str) -> None:
    """The server's name is not in the pooler's certificate either."""
    for changes in (
        {"host": "db.example.com", "hostaddr": pooler.host},
        {"tls_root_cert_path": str(tls_server.root_cert_path)},
    ):
        with pytest.raises(CertificateError), connected(unbound(pooler, backend, **changes), style):
            pass


def test_error_about_wrong_password_has_text_of_pgbouncer(pooler: PgBouncer) -> None:
    with pytest.raises(ServerError, match="SASL authentication failed") as caught:
        Session.connect(unbound(pooler, password="wrong"))
    assert caught.value.code == "08P01"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tls_negotiation": "direct"}, TlsError, "does not speak TLS"),
        ({"options": "-c jit=off"}, ServerError, "unsupported startup parameter"),
        ({"server_settings": {"search_path": "x"}}, ServerError, "unsupported startup parameter"),
    ],
)
def test_unsupported_features_of_pgbouncer_1_18_fail(
    pooler: PgBouncer, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Each of them fails with an error: direct TLS, and parameters of the StartupMessage."""
    if not pooler.version.startswith("1.18."):
        pytest.skip(f"this is PgBouncer {pooler.version}")
    with pytest.raises(error, match=message):
        Session.connect(unbound(pooler, **changes))


def test_stopped_pgbouncer_leaves_only_its_log_and_starts_again(tls_server: PostgresServer, pooler: PgBouncer) -> None:
    with pytest.raises(PostgresError, match="already running"):
        pooler.start()
    other = PgBouncer(tls_server, settings={"log_connections": "1"})
    for _ in range(2):
        with other:
            Session.connect(unbound(other)).close()
            pid, folder = other._process.pid, other.root_cert_path.parent
            assert is_alive(pid)
            assert folder.exists()
        assert not folder.exists()
        assert "login attempt: db=postgres user=scram_role" in other.log()
        assert not is_alive(pid)


@pytest.mark.usefixtures("pooler")
def test_pgbouncer_ends_with_its_parent() -> None:
    program = (
        "import os\n"
        "from babar_tls.testing import PgBouncer, PostgresServer\n"
        "server = PostgresServer()\n"
        "server.start()\n"
        "pooler = PgBouncer(server)\n"
        "pooler.start()\n"
        "print(pooler._process.pid, pooler.root_cert_path.parent, flush=True)\n"
        "os._exit(3)\n"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100
    )
    pid, folder = done.stdout.split()
    deadline = time.monotonic() + 60
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(folder).exists()
    assert not is_alive(int(pid))


@pytest.mark.usefixtures("pooler")
def test_start_error_has_the_text_of_pgbouncer(tls_server: PostgresServer) -> None:
    with pytest.raises(PostgresError, match='invalid value "nonsense" for parameter pool_mode'):
        PgBouncer(tls_server, settings={"pool_mode": "nonsense"}).start()
    with pytest.raises(ValueError, match="with TLS"):
        PgBouncer(PostgresServer(tls=False))
    with pytest.raises(PostgresError, match="not running"):
        PgBouncer(PostgresServer()).start()


def test_missing_program_is_an_error_with_the_command_to_install_it(
    tls_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(PostgresError, match="apt-get install pgbouncer"):
        PgBouncer(tls_server).start()
    with pytest.raises(PostgresError, match="cannot be run"):
        PgBouncer(tls_server, program="/nonexistent/pgbouncer").start()


@both
def test_pooler_negotiates_the_protocol_version_or_the_error_has_a_remedy(pooler: PgBouncer, style: str) -> None:
    """PgBouncer 1.18 refuses later versions than 3.0."""
    config = unbound(pooler, max_protocol_version="3.2")
    try:
        with connected(config, style) as session:
            outcome = session.protocol_version
    except ServerError as error:
        outcome = str(error.remedy)
    assert outcome in ("3.0", "3.2") or "max_protocol_version=3.0" in outcome
    with connected(config.replace(max_protocol_version="3.0"), style) as session:
        assert session.protocol_version == "3.0"
