"""`Session.detach` and `AsyncSession.detach`, and the `SecureStream` that they return."""

from __future__ import annotations

import asyncio
import gc
import os
import struct
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import Config, ConfigError, Session
from babar_tls.protocol import messages
from babar_tls.testing import CertificateAuthority, ScramServer, ScriptedPeer, ScriptedServer

from .detached_clients import (
    AUTHENTICATION_OK,
    READY,
    Client,
    connect,
    detached,
    error_code,
    log_in,
    reachable_texts,
    split,
    wait_until_asleep,
)

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.testing import PostgresServer

PASSWORD = "secret-Kuh7-of-detach"
NOTICE = messages.frame(b"N", b"SNOTICE\0VNOTICE\0C00000\0Mgood morning\0\0")
PARAMETERS = [("server_version", "17.1"), ("client_encoding", "UTF8"), ("application.name", "µ")]
STATUSES = [messages.frame(b"S", f"{name}\0{value}\0".encode()) for name, value in PARAMETERS]
KEY = messages.frame(b"K", struct.pack("!I4s", 4711, b"key!"))


@pytest.fixture(params=["blocking", "asyncio"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def roots(authority: CertificateAuthority, tmp_path: Path) -> str:
    path = tmp_path / "root.crt"
    path.write_bytes(authority.certificate_pem)
    return str(path)


def target(server: PostgresServer, backend: str = "stdlib", **overrides: Any) -> Config:
    binding = {} if overrides.get("tls_mode") == "disable" else {"channel_binding": "require"}
    login = {"user": "app", "password": "secret", "tls_backend": backend, **binding}
    return server.config(**{**login, **overrides})


def scripted(server: ScriptedServer, roots: str, backend: str = "stdlib") -> Config:
    return Config(
        host="127.0.0.1",
        port=server.port,
        user="app",
        tls_root_cert_path=roots,
        tls_default_roots=False,
        tls_backend=backend,
    )


# -- the greeting, and the data after it


def test_driver_gets_the_greeting_of_the_server(server: PostgresServer, backend: str, style: str) -> None:
    stream = detached(target(server, backend), style)
    with Client(stream) as client:
        kinds = b"".join(kind for kind, _ in client.greeting)
        assert kinds == b"R" + b"S" * len(stream.params) + b"KZ"
        parameters = dict(messages.parse_parameter_status(data) for kind, data in client.greeting if kind == b"S")
        assert parameters == dict(stream.params)
        assert parameters["server_version"].startswith(server.version)
        assert dict(client.greeting)[b"K"] == struct.pack("!I", stream.process_id) + stream.driver_key
        assert int(client.value("select pg_backend_pid()")) == stream.process_id
        assert client.value("select ssl from pg_stat_ssl where pid = pg_backend_pid()") == "t"


@pytest.mark.parametrize("tls", [True, False])
def test_greeting_keeps_order_notices_and_later_data(
    authority: CertificateAuthority, roots: str, backend: str, style: str, tls: bool
) -> None:
    login = [AUTHENTICATION_OK, STATUSES[0], NOTICE, *STATUSES[1:], KEY, NOTICE, READY]
    later = [NOTICE, messages.frame(b"S", b"server_version\0" + b"17.2\0"), NOTICE[:9], NOTICE[9:]]

    def script(peer: ScriptedPeer) -> None:
        log_in(peer, b"".join(login + later))
        peer.receive()

    certificate = authority.issue("127.0.0.1") if tls else None
    with ScriptedServer(script, tls=certificate) as server:
        unencrypted = Config(host="127.0.0.1", port=server.port, user="app", tls_mode="disable")
        config = scripted(server, roots, backend) if tls else unencrypted
        stream = detached(config, style)
        with Client(stream) as client:
            received = client.greeting + [client.message() for _ in split(b"".join(later))]
        assert not server.errors
    own_key = messages.frame(b"K", struct.pack("!I", 4711) + stream.driver_key)
    assert received == split(b"".join([AUTHENTICATION_OK, *STATUSES, own_key, NOTICE, NOTICE, READY, *later]))


def test_records_received_before_detach_are_delivered(
    authority: CertificateAuthority, roots: str, backend: str, style: str
) -> None:
    login = b"".join([AUTHENTICATION_OK, *STATUSES, KEY, READY])
    later = [messages.frame(b"A", struct.pack("!I", number) + b"topic\0hello\0") for number in range(50)]

    def script(peer: ScriptedPeer) -> None:
        log_in(peer, login, *later)
        peer.receive()

    with ScriptedServer(script, tls=authority.issue("127.0.0.1")) as server:
        with Client(detached(scripted(server, roots, backend), style)) as client:
            assert [client.message() for _ in later] == split(b"".join(later))
        assert not server.errors


def test_server_without_a_key_is_accepted_and_cancel_raises(
    authority: CertificateAuthority, roots: str, style: str
) -> None:
    def script(peer: ScriptedPeer) -> None:
        log_in(peer, b"".join([AUTHENTICATION_OK, READY]))
        peer.receive()

    with ScriptedServer(script, tls=authority.issue("127.0.0.1")) as server:
        stream = detached(scripted(server, roots), style)
        try:
            assert split(stream.greeting) == split(AUTHENTICATION_OK + READY)
            with pytest.raises(ConfigError, match="no key for cancel requests"):
                stream.cancel()
            with pytest.raises(ConfigError, match="no key for cancel requests"):
                asyncio.run(stream.cancel_async())
        finally:
            stream.close()


def test_long_key_is_replaced_by_a_short_one(authority: CertificateAuthority, roots: str, style: str) -> None:
    """Drivers are offered protocol 3.0, in which a key has 4 bytes. Protocol 3.2 allows 256."""
    with ScramServer({"app": "secret"}, authority.issue("127.0.0.1"), max_protocol_version="3.2") as server:
        config = scripted(server, roots).replace(password="secret", max_protocol_version="3.2")
        session, stream = connect(config, style)
        assert session.protocol_version == "3.2"
        assert stream.cancel_running is not None
        assert len(stream.cancel_running.secret_key) > 4
        with Client(stream) as client:
            assert len(dict(client.greeting)[b"K"]) == 8
            assert client.value("select 1") == "1"
        assert not server.errors


# -- cancellation


@pytest.mark.parametrize("way", ["cancel", "cancel_async", "session"])
@pytest.mark.parametrize("tls_mode", ["require", "disable"])
def test_running_query_is_cancelled(server: PostgresServer, backend: str, style: str, way: str, tls_mode: str) -> None:
    session, stream = connect(target(server, backend, tls_mode=tls_mode), style)
    with Client(stream) as client:
        client.send(messages.query("select pg_sleep(60)"))
        wait_until_asleep(server, stream.process_id)
        if way == "cancel":
            stream.cancel()
        elif way == "cancel_async":
            asyncio.run(stream.cancel_async())
        elif isinstance(session, Session):
            session.cancel()
        else:
            asyncio.run(session.cancel())
        assert error_code(client.until_ready()) == "57014"
        assert client.value("select 'alive'") == "alive"


def test_only_the_request_made_from_the_greeting_is_recognized(server: PostgresServer, style: str) -> None:
    stream, other = (detached(target(server), style) for _ in range(2))
    try:
        assert stream.cancel_running is not None
        assert stream.driver_key != stream.cancel_running.secret_key
        assert stream.driver_key != other.driver_key
        process_id, key = struct.unpack("!I4s", dict(split(stream.greeting))[b"K"])
        request = messages.cancel_request(process_id, key)
        assert stream.is_cancel_request(request)
        assert not other.is_cancel_request(request)
        assert not stream.is_cancel_request(messages.cancel_request(process_id, stream.cancel_running.secret_key))
        for wrong in (b"", request[:-1], request + b"\0", messages.cancel_request(process_id + 1, key)):
            assert not stream.is_cancel_request(wrong)
    finally:
        stream.close()
        other.close()


# -- the end


def test_close_sends_the_farewell_and_close_notify_once(
    authority: CertificateAuthority, roots: str, backend: str, style: str
) -> None:
    received = []

    def script(peer: ScriptedPeer) -> None:
        log_in(peer, b"".join([AUTHENTICATION_OK, KEY, READY]))
        assert peer.tls is not None
        peer.tls.suppress_ragged_eofs = False  # a missing close_notify raises SSLEOFError
        while data := peer.receive():
            received.append(data)
        received.append(b"close_notify")

    with ScriptedServer(script, tls=authority.issue("127.0.0.1")) as server:
        stream = detached(scripted(server, roots, backend), style)
        for _ in range(3):
            stream.close(messages.TERMINATE)
        assert stream.socket.fileno() < 0
    assert not server.errors
    assert received == [messages.TERMINATE, b"close_notify"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_close_in_a_forked_child_does_not_disturb_the_parent(server: PostgresServer, backend: str, style: str) -> None:
    stream = detached(target(server, backend), style)
    with Client(stream) as client:
        assert not stream.is_forked
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads may exist
            child = os.fork()
        if child == 0:
            status = 1
            try:
                is_forked = stream.is_forked
                stream.close(messages.TERMINATE)
                status = 0 if is_forked and stream.socket.fileno() < 0 else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.value("select 'alive'") == "alive"


def test_session_is_closed_and_does_not_warn_or_disturb(server: PostgresServer, backend: str, style: str) -> None:
    session, stream = connect(target(server, backend), style)
    with Client(stream) as client:
        assert session.closed
        if isinstance(session, Session):
            session.close()
        else:
            asyncio.run(session.close())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del session
            gc.collect()
        assert client.value("select 'alive'") == "alive"


def test_stream_refers_to_no_password(server: PostgresServer, backend: str, style: str) -> None:
    server.sql(f"alter role app password '{PASSWORD}'")
    try:
        stream = detached(target(server, backend, password=PASSWORD), style)
    finally:
        server.sql("alter role app password 'secret'")
    try:
        texts = reachable_texts(stream)
        assert stream.greeting in texts
        assert b"app" in texts
        assert not [text for text in texts if PASSWORD.encode() in text]
        assert PASSWORD not in repr(stream)
        assert repr(stream.driver_key) not in repr(stream)
    finally:
        stream.close()
