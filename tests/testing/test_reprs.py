"""What `repr` shows of sessions and servers: where they are, their state, and no secret."""

from __future__ import annotations

import asyncio
import re
import socket

from babar_tls import AsyncSession, SecureSocket, SecureStream, SecureTransport, Session
from babar_tls.testing import (
    CertificateAuthority,
    PgBouncer,
    PostgresServer,
    ScramServer,
    ScriptedServer,
    TlsInterceptor,
)


def test_repr_of_session_names_server_role_and_protection(server: PostgresServer) -> None:
    where = f'with server at "127.0.0.1", port {server.port}'
    with Session.connect(server.config()) as session:
        text = f"<Session {where}, user 'postgres', database 'postgres', TLSv1.3, channel-bound"
        assert repr(session) == f"{text}>"
    assert repr(session) == f"{text}, closed>"
    plain = server.config(host=str(server.socket_dir), database=None)
    with Session.connect(plain) as session:
        assert repr(session) == f"<Session with {plain.targets[0].describe()}, user 'postgres', no TLS>"
    stream = Session.connect(server.config(channel_binding="disable")).detach()
    shown = f"<SecureStream {where}, TLSv1.3, not channel-bound"
    assert repr(stream) == f"{shown}>"
    assert repr(SecureSocket(stream)) == f"<SecureSocket of {shown}>>"
    stream.close()
    assert repr(stream) == f"{shown}, closed>"


def test_repr_of_asynchronous_session_names_server_role_and_protection(server: PostgresServer) -> None:
    async def connect() -> tuple[str, SecureStream, str]:
        session = await AsyncSession.connect(server.config())
        text = repr(session)
        stream = session.detach()
        return text, stream, repr(SecureTransport(stream, asyncio.Protocol()))

    text, stream, transport = asyncio.run(connect())
    where = f'with server at "127.0.0.1", port {server.port}'
    assert text == f"<AsyncSession {where}, user 'postgres', database 'postgres', TLSv1.3, channel-bound>"
    assert transport == f"<SecureTransport of {stream!r}>"
    stream.close()


def test_repr_of_servers_shows_their_addresses(server: PostgresServer) -> None:
    certificate = server.ca.issue("localhost")
    assert repr(server) == f"<PostgresServer {server.version} at 127.0.0.1:{server.port}>"
    assert repr(PostgresServer()) == "<PostgresServer, not running>"
    assert repr(PgBouncer(server)) == "<PgBouncer, not running>"
    for stopped in (
        TlsInterceptor(server.host, server.port, certificate),
        ScramServer({}, certificate),
        ScriptedServer(lambda peer: None),
    ):
        name = type(stopped).__name__
        assert repr(stopped) == f"<{name}, not running>"
        with stopped:
            assert repr(stopped) == f"<{name} at 127.0.0.1:{stopped.port}>"
        assert repr(stopped) == f"<{name}, not running>"


def test_repr_of_certificates_shows_the_subject_or_the_fingerprint() -> None:
    authority = CertificateAuthority(common_name="a CA")
    assert repr(authority) == "<CertificateAuthority 'CN=a CA,O=babar-tls testing'>"
    assert re.fullmatch(r"ServerCertificate\(sha256=[0-9a-f]{64}\)", repr(authority.issue("localhost")))


def test_repr_of_peer_shows_the_address_of_the_client() -> None:
    shown: list[str] = []
    with (
        ScriptedServer(lambda peer: shown.append(repr(peer))) as scripted,
        socket.create_connection((scripted.host, scripted.port)) as client,
    ):
        client.settimeout(10)
        assert client.recv(1) == b""  # the script has ended
        port = client.getsockname()[1]
    assert shown == [f"<ScriptedPeer of the client at 127.0.0.1:{port}>"]
