"""`ScramServer`: it accepts all channel-binding types, and refuses logins with the SQLSTATEs of PostgreSQL 17."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

pytest.importorskip("cryptography")

from hypothesis import given
from hypothesis import strategies as st

from babar_tls import Config, ConfigError, ServerError, Session
from babar_tls.crypto import scram_keys, scram_verifier
from babar_tls.protocol import messages
from babar_tls.protocol.scram import ScramClient
from babar_tls.testing import CertificateAuthority, PostgresServer, ScramServer, ServerCertificate
from babar_tls.testing._backend_protocol import RefusedError, parse_sasl_initial_response, parse_startup
from babar_tls.testing._scram_secrets import Secrets, parse_verifier
from babar_tls.testing._tls_contexts import SSL_REQUEST, request_tls
from babar_tls.testing.scram_server import ScramLogin, ScramRefusal, gs2_flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PLUS, PLAIN = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"
PASSWORD = "it's a \\ secret"  # also the password on the PostgreSQL server of the fixture `server`
NONCE = b"fyko+d2lbbFgONRv"
BARE = b"n=,r=" + NONCE
END_POINT = "p=tls-server-end-point"
BACKENDS = ["stdlib", "openssl"]
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="module")
def certificate(authority: CertificateAuthority) -> ServerCertificate:
    return authority.issue("localhost", "127.0.0.1")


@pytest.fixture(params=BACKENDS)
def tls_backend(request: pytest.FixtureRequest) -> str:
    if request.param == "openssl":
        pytest.importorskip("OpenSSL", reason="this test needs pyOpenSSL")
    return request.param


class Client:
    """A client that sends any bytes, over TLS of the standard library."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def receive(self) -> tuple[bytes, bytes]:
        """Receive a message; return its type and its content, both empty at the end of the stream."""
        head = self._exactly(5)
        return (head[:1], self._exactly(struct.unpack("!i", head[1:])[0] - 4)) if head else (b"", b"")

    def _exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            chunk = self.stream.recv(count - len(received))
            if not chunk:
                return b""
            received += chunk
        return received

    def begin(self, user: str) -> list[bytes]:
        """Send a StartupMessage; return the mechanisms that the server offers."""
        self.stream.sendall(messages.startup([("user", user), ("database", "postgres")]))
        kind, payload = self.receive()
        assert (kind, payload[:4]) == (b"R", struct.pack("!i", 10))
        return payload[4:].split(b"\0")[:-2]

    def answer(self, data: bytes) -> bytes | dict[str, str]:
        """Send `data`; return the content of the next SASL request, or the fields of the error."""
        self.stream.sendall(data)
        kind, payload = self.receive()
        assert kind in (b"R", b"E")
        return payload[4:] if kind == b"R" else messages.parse_fields(payload)


@contextmanager
def connect(server: ScramServer | PostgresServer) -> Iterator[Client]:
    with socket.create_connection((server.host, server.port), timeout=10) as sock:
        stream = request_tls(sock)
        assert stream is not None
        with stream:
            yield Client(stream)


def end_point(stream: ssl.SSLSocket) -> bytes:
    return hashlib.sha256(stream.getpeercert(binary_form=True) or b"").digest()


def unchanged(message: bytes) -> bytes:
    return message


class Attempt(NamedTuple):
    """A login; the defaults are those of a login that succeeds without channel binding."""

    mechanism: str = PLAIN
    first: bytes = b"n,," + BARE
    flag: str = "n"
    cbind_data: bytes | None = b""
    user: str = "app"
    password: str = PASSWORD
    change: Callable[[bytes], bytes] = unchanged


def attempt(server: ScramServer | PostgresServer, login: Attempt) -> bytes | dict[str, str]:
    """Log in; return the server-final-message, or the fields of the error."""
    with connect(server) as client:
        client.begin(login.user)
        challenge = client.answer(messages.sasl_initial_response(login.mechanism, login.first))
        if isinstance(challenge, dict):
            return challenge
        data = end_point(client.stream) if login.cbind_data is None else login.cbind_data
        scram = ScramClient(login.flag, data, nonce=NONCE)
        server_first = scram.receive_server_first(challenge)
        final = scram.client_final_message(scram_keys(login.password, server_first.salt, server_first.iterations))
        return client.answer(messages.sasl_response(login.change(final)))


REFUSED = {
    "downgrade": (Attempt(first=b"y,," + BARE), "28000", "SCRAM channel binding negotiation error"),
    "binding": (
        Attempt(PLUS, END_POINT.encode() + b",," + BARE, END_POINT, b"x" * 32),
        "28000",
        "SCRAM channel binding check failed",
    ),
    "short binding": (
        Attempt(PLUS, END_POINT.encode() + b",," + BARE, END_POINT),
        "28000",
        "SCRAM channel binding check failed",
    ),
    "binding before password": (
        Attempt(PLUS, END_POINT.encode() + b",," + BARE, END_POINT, b"x" * 32, password="another"),
        "28000",
        "SCRAM channel binding check failed",
    ),
    "password": (Attempt(password="another"), "28P01", 'password authentication failed for user "app"'),
    "unknown role": (Attempt(user="ghost"), "28P01", 'password authentication failed for user "ghost"'),
    "no password": (Attempt(user="nopassword"), "28P01", 'password authentication failed for user "nopassword"'),
    "mechanism": (Attempt("SCRAM-SHA-1"), "08P01", "client selected an invalid SASL authentication mechanism"),
    "unregistered type": (Attempt(PLUS, b"p=tls-nothing,," + BARE), "08P01", "unsupported SCRAM channel-binding type"),
    "nameless type": (Attempt(PLUS, b"p=,," + BARE), "08P01", "unsupported SCRAM channel-binding type"),
    "p without plus": (Attempt(first=END_POINT.encode() + b",," + BARE), "08P01", "malformed SCRAM message"),
    "plus without p": (Attempt(PLUS), "08P01", "malformed SCRAM message"),
    "plus with y": (Attempt(PLUS, b"y,," + BARE), "08P01", "malformed SCRAM message"),
    "unknown flag": (Attempt(first=b"x,," + BARE), "08P01", "malformed SCRAM message"),
    "empty": (Attempt(first=b""), "08P01", "malformed SCRAM message"),
    "no header": (Attempt(first=b"n"), "08P01", "malformed SCRAM message"),
    "nonce": (
        Attempt(change=lambda message: message.replace(b",r=f", b",r=g")),
        "08P01",
        "invalid SCRAM response",
    ),
    "short proof": (Attempt(change=lambda message: message[:-4]), "08P01", "malformed SCRAM message"),
    "no proof": (Attempt(change=lambda message: message.rpartition(b",")[0]), "08P01", "malformed SCRAM message"),
    "text after proof": (Attempt(change=lambda message: message + b",x=1"), "08P01", "malformed SCRAM message"),
    "empty final": (Attempt(change=lambda _: b""), "08P01", "malformed SCRAM message"),
    "extension": (
        Attempt(change=lambda message: message.replace(b",p=", b",x=1,p=")),
        None,  # PostgreSQL ignores the extension and then refuses the proof; ScramServer refuses the extension
        "",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_login_is_refused_as_by_postgresql(
    name: str, server: PostgresServer, certificate: ServerCertificate, tls_backend: Any
) -> None:
    """The SQLSTATE and the start of the message are those of PostgreSQL 17."""
    login, sqlstate, text = REFUSED[name]
    with ScramServer({"app": PASSWORD, "nopassword": None}, certificate, tls_backend=tls_backend) as ours:
        refusal = attempt(ours, login)
    assert isinstance(refusal, dict)
    assert refusal["V"] == "FATAL"
    assert (ours.refusals, ours.logins, ours.errors) == (
        [ScramRefusal(login.user, refusal["C"], refusal["M"])],
        [],
        [],
    )
    theirs = attempt(server, login)
    assert isinstance(theirs, dict)
    if sqlstate is not None:
        assert (refusal["C"], theirs["C"]) == (sqlstate, sqlstate)
        assert refusal["M"].startswith(text)
        assert theirs["M"].startswith(text)


@pytest.mark.parametrize("bound", [False, True])
def test_login_is_accepted_as_by_postgresql(
    *, bound: bool, server: PostgresServer, certificate: ServerCertificate, tls_backend: Any
) -> None:
    login = Attempt(PLUS, END_POINT.encode() + b",," + BARE, END_POINT, None) if bound else Attempt()
    with ScramServer({"app": PASSWORD}, certificate, tls_backend=tls_backend) as ours:
        assert attempt(ours, login)[:2] == b"v="  # type: ignore[index]  # fails if the login was refused
    assert [(seen.mechanism, seen.gs2_flag) for seen in ours.logins] == [(PLUS, "p") if bound else (PLAIN, "n")]
    assert attempt(server, login)[:2] == b"v="


def test_role_that_does_not_exist_looks_like_one_that_does(
    certificate: ServerCertificate, server: PostgresServer
) -> None:
    """The role has a salt of the usual length, the same in each login, and the usual iteration count."""
    for tested in (server, ScramServer({"app": PASSWORD}, certificate)):
        if isinstance(tested, ScramServer):
            tested.start()
        challenges = []
        for user in ("app", "ghost", "ghost", "spectre"):
            with connect(tested) as client:
                client.begin(user)
                challenge = client.answer(messages.sasl_initial_response(PLAIN, b"n,," + BARE))
                assert isinstance(challenge, bytes)
                challenges.append(ScramClient("n", nonce=NONCE).receive_server_first(challenge))
        app, ghost, again, spectre = challenges
        assert ghost.salt == again.salt != spectre.salt != app.salt
        assert len({len(challenge.salt) for challenge in challenges}) == 1
        assert len({challenge.iterations for challenge in challenges}) == 1
        if isinstance(tested, ScramServer):
            tested.close()
            assert tested.errors == []


# Mechanisms ---------------------------------------------------------------------------------------------------------


def offered(server: ScramServer) -> list[bytes]:
    with server, connect(server) as client:
        return client.begin("app")


def test_both_mechanisms_are_offered(certificate: ServerCertificate, tls_backend: Any) -> None:
    """The default is the order of PostgreSQL: SCRAM-SHA-256-PLUS first."""
    assert offered(ScramServer({"app": "x"}, certificate, tls_backend=tls_backend)) == [PLUS.encode(), PLAIN.encode()]


@pytest.mark.parametrize("mechanism", [PLUS, PLAIN])
def test_only_chosen_mechanism_is_offered(mechanism: str, certificate: ServerCertificate) -> None:
    """If the server does not offer SCRAM-SHA-256-PLUS, it accepts the flag ``y`` (RFC 5802 §6)."""
    assert offered(ScramServer({}, certificate, mechanisms=[mechanism])) == [mechanism.encode()]
    if mechanism == PLAIN:
        with ScramServer({"app": PASSWORD}, certificate, mechanisms=[mechanism]) as server:
            assert attempt(server, Attempt(first=b"y,," + BARE, flag="y"))[:2] == b"v="
        assert server.logins == [ScramLogin("app", PLAIN, "y", None, "TLSv1.3")]


def test_mechanism_that_was_not_offered_is_refused(certificate: ServerCertificate) -> None:
    with ScramServer({"app": PASSWORD}, certificate, mechanisms=[PLUS]) as server:
        assert attempt(server, Attempt())["C"] == "08P01"


@pytest.mark.parametrize(("key", "version"), [("ed25519", V13), ("p256", V12)])
def test_plus_is_not_offered_without_accepted_binding(key: Any, version: ssl.TLSVersion) -> None:
    """If SCRAM-SHA-256-PLUS is the only mechanism, the login is refused."""
    if key == "ed25519":  # tls-server-end-point is not defined for Ed25519 signatures
        accepted, leaf = "tls-server-end-point", CertificateAuthority("ed25519").issue("localhost", key="p256")
    else:
        pytest.importorskip("OpenSSL", reason="the exporter")
        accepted, leaf = "tls-exporter", CertificateAuthority().issue("localhost")
    options: dict[str, Any] = {"channel_bindings": [accepted], "minimum_version": version, "maximum_version": version}
    assert offered(ScramServer({"app": "x"}, leaf, **options)) == [PLAIN.encode()]
    with ScramServer({"app": "x"}, leaf, mechanisms=[PLUS], **options) as server, connect(server) as client:
        client.stream.sendall(messages.startup([("user", "app")]))
        assert client.receive()[0] == b"E"
    assert [refusal.message for refusal in server.refusals] == [
        "the connection has no channel binding of an accepted type"
    ]


def test_binding_type_that_is_not_accepted_is_refused(certificate: ServerCertificate, tls_backend: Any) -> None:
    """A registered type that is not in `channel_bindings` is refused like an unregistered one."""
    with ScramServer({"app": PASSWORD}, certificate, channel_bindings=["tls-unique"], maximum_version=V12) as server:
        refusal = attempt(server, Attempt(PLUS, END_POINT.encode() + b",," + BARE, END_POINT, None))
    assert isinstance(refusal, dict)
    assert refusal["C"] == "08P01"
    assert "unsupported SCRAM channel-binding type" in refusal["M"]
    assert "tls-server-end-point" in refusal["M"]


# tls-unique and tls-exporter, compared with their definitions in the RFCs --------------------------------------------


def test_tls_unique_is_finished_message_of_client(certificate: ServerCertificate, tls_backend: Any) -> None:
    """It is the first Finished message of a full TLS 1.2 handshake (RFC 5929 §3.1)."""
    openssl = pytest.importorskip("OpenSSL.SSL", reason="only pyOpenSSL returns the Finished messages")
    with (
        ScramServer({"app": PASSWORD}, certificate, maximum_version=V12, tls_backend=tls_backend) as server,
        pyopenssl_client(openssl, server) as (client, connection),
    ):
        assert len(connection.get_finished()) == 12
        assert log_in(client, "p=tls-unique", connection.get_finished())[:2] == b"v="
    assert server.logins == [ScramLogin("app", PLUS, "p", "tls-unique", "TLSv1.2")]
    assert server.errors == []


def test_tls_unique_is_not_finished_message_of_server(certificate: ServerCertificate, tls_backend: Any) -> None:
    """It is the second Finished message, so the login is refused."""
    openssl = pytest.importorskip("OpenSSL.SSL", reason="only pyOpenSSL returns the Finished messages")
    with (
        ScramServer({"app": PASSWORD}, certificate, maximum_version=V12, tls_backend=tls_backend) as server,
        pyopenssl_client(openssl, server) as (client, connection),
    ):
        assert log_in(client, "p=tls-unique", connection.get_peer_finished()) == "28000"


def test_tls_exporter_is_exported_keying_material(certificate: ServerCertificate) -> None:
    """It has the label EXPORTER-Channel-Binding, an empty context and 32 bytes (RFC 9266 §2)."""
    openssl = pytest.importorskip("OpenSSL.SSL", reason="the exporter")
    with ScramServer({"app": PASSWORD}, certificate) as server:
        for label, length, sqlstate in (
            (b"EXPORTER-Channel-Binding", 32, None),
            (b"EXPORTER-Channel-Binding", 31, "28000"),
            (b"EXPORTER: Channel-Binding", 32, "28000"),
        ):
            with pyopenssl_client(openssl, server) as (client, connection):
                result = log_in(client, "p=tls-exporter", connection.export_keying_material(label, length, b""))
                assert result == sqlstate if sqlstate else result[:2] == b"v="
    assert server.logins == [ScramLogin("app", PLUS, "p", "tls-exporter", "TLSv1.3")]
    assert server.errors == []


@contextmanager
def pyopenssl_client(openssl: Any, server: ScramServer) -> Iterator[tuple[Client, Any]]:
    """Yield a client over TLS of pyOpenSSL, and its `OpenSSL.SSL.Connection`."""
    context = openssl.Context(openssl.TLS_CLIENT_METHOD)
    with socket.create_connection((server.host, server.port), timeout=10) as sock:
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
        sock.settimeout(None)  # pyOpenSSL does not wait for a socket that has a timeout
        connection = openssl.Connection(context, sock)
        connection.set_connect_state()
        connection.do_handshake()
        yield Client(connection), connection


def log_in(client: Client, flag: str, cbind_data: bytes) -> bytes | str:
    """Log in; return the server-final-message, or the SQLSTATE of the refusal."""
    client.begin("app")
    scram = ScramClient(flag, cbind_data)
    challenge = client.answer(messages.sasl_initial_response(PLUS, scram.client_first_message()))
    assert isinstance(challenge, bytes)
    server_first = scram.receive_server_first(challenge)
    final = scram.client_final_message(scram_keys(PASSWORD, server_first.salt, server_first.iterations))
    result = client.answer(messages.sasl_response(final))
    return result if isinstance(result, bytes) else result["C"]


# Logins and queries -------------------------------------------------------------------------------------------------


@pytest.fixture
def config(authority: CertificateAuthority, tmp_path: Path) -> Config:
    authority.write(tmp_path / "root.crt")
    root = str(tmp_path / "root.crt")
    return Config(host="127.0.0.1", user="app", password=PASSWORD, tls_root_cert_path=root, tls_default_roots=False)


@pytest.mark.parametrize("stored", ["password", "bytes", "verifier"])
def test_role_has_password_or_verifier(
    stored: str, config: Config, certificate: ServerCertificate, tls_backend: Any
) -> None:
    """The iteration count is that of the verifier, otherwise that of the server."""
    secret = {"password": PASSWORD, "bytes": PASSWORD.encode(), "verifier": scram_verifier(PASSWORD, iterations=7)}
    with (
        ScramServer({"app": secret[stored]}, certificate, iterations=9, tls_backend=tls_backend) as server,
        Session.connect(config.replace(port=server.port)) as session,
    ):
        assert session.security.scram_iterations == (7 if stored == "verifier" else 9)
        assert session.query("select 1") == [("1",)]
    assert (len(server.logins), server.refusals, server.errors) == (1, [], [])


def test_select_1_is_answered_and_other_queries_fail(
    config: Config, certificate: ServerCertificate, tls_backend: Any
) -> None:
    """A query that fails does not end the session."""
    with (
        ScramServer({"app": PASSWORD}, certificate, tls_backend=tls_backend) as server,
        Session.connect(config.replace(port=server.port)) as session,
    ):
        assert session.query(" SELECT  1 ; ") == [("1",)]
        with pytest.raises(ServerError, match="supports only the query select 1"):
            session.query("select 2")
        assert session.query("select 1") == [("1",)]
    assert server.errors == []


def test_extended_query_protocol_is_refused(certificate: ServerCertificate) -> None:
    """The server sends an error and closes the connection."""
    with ScramServer({"app": PASSWORD}, certificate) as server, connect(server) as client:
        client.begin("app")
        scram = ScramClient("n")
        challenge = client.answer(messages.sasl_initial_response(PLAIN, scram.client_first_message()))
        assert isinstance(challenge, bytes)
        server_first = scram.receive_server_first(challenge)
        final = scram.client_final_message(scram_keys(PASSWORD, server_first.salt, server_first.iterations))
        client.stream.sendall(messages.sasl_response(final) + messages.frame(b"P", b"\0select 1\0\0\0"))
        kinds = []
        while (message := client.receive())[0]:
            kinds.append(message[0])
        assert kinds[-2:] == [b"Z", b"E"]
    assert server.errors == []


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_libpq_logs_in(
    *,
    version: ssl.TLSVersion,
    negotiation: str,
    authority: CertificateAuthority,
    certificate: ServerCertificate,
    tls_backend: Any,
    tmp_path: Path,
) -> None:
    """The binding type is tls-server-end-point, the only one that libpq supports."""
    psycopg = pytest.importorskip("psycopg", reason="this test needs libpq")
    if psycopg.pq.version() < 170000:
        pytest.skip("sslnegotiation=direct needs libpq 17")
    authority.write(tmp_path / "root.crt")
    bounds = {"minimum_version": version, "maximum_version": version}
    with ScramServer({"app": PASSWORD}, certificate, tls_backend=tls_backend, **bounds) as server:
        parameters = {
            "host": server.host,
            "port": server.port,
            "user": "app",
            "password": PASSWORD,
            "channel_binding": "require",
            "sslmode": "verify-full",
            "sslrootcert": str(tmp_path / "root.crt"),
            "sslnegotiation": negotiation,
        }
        with psycopg.connect(**parameters, autocommit=True) as connection:
            assert connection.execute("select 1").fetchall() == [(1,)]
        with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "app"'):
            psycopg.connect(**{**parameters, "password": "another"})
    version_name = version.name.replace("_", ".")
    assert server.logins == [ScramLogin("app", PLUS, "p", "tls-server-end-point", version_name)]
    assert [refusal.sqlstate for refusal in server.refusals] == ["28P01"]
    assert server.errors == []


def test_intermediate_certificates_are_sent(authority: CertificateAuthority, tls_backend: Any, config: Config) -> None:
    """A client that has only the root certificate can verify the server."""
    chained = authority.intermediate().issue("localhost", "127.0.0.1")
    with (
        ScramServer({"app": PASSWORD}, chained, tls_backend=tls_backend) as server,
        Session.connect(config.replace(port=server.port, channel_binding="require")) as session,
    ):
        assert session.security.verified == "full"
    assert server.errors == []


# Connections --------------------------------------------------------------------------------------------------------


def becomes_true(condition: Callable[[], bool]) -> bool:
    """Wait up to ten seconds until a condition that a server thread changes is true; return its value."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


def test_disconnects_are_not_errors(certificate: ServerCertificate, tls_backend: Any) -> None:
    """A client may disconnect before TLS, after TLS, inside a message, or because it refuses the certificate."""
    before = threading.active_count()
    with ScramServer({"app": PASSWORD}, certificate, tls_backend=tls_backend) as server:
        socket.create_connection((server.host, server.port)).close()
        with socket.create_connection((server.host, server.port), timeout=10) as sock:
            sock.sendall(SSL_REQUEST)
            assert sock.recv(1) == b"S"
            sock.sendall(b"\x16\x03\x01")
        with socket.create_connection((server.host, server.port), timeout=10) as sock:
            sock.sendall(SSL_REQUEST)
            assert sock.recv(1) == b"S"
            with pytest.raises(ssl.SSLCertVerificationError):
                ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
        with connect(server) as client:
            client.begin("app")
        with connect(server) as client:
            client.stream.sendall(b"\0\0")
        with connect(server) as client:
            client.begin("app")
            client.stream.sendall(b"p\0\0")
            with suppress(OSError):  # the server may close first
                client.stream.unwrap()
        assert server.connections == 6
        assert becomes_true(lambda: threading.active_count() == before + 1)
    assert (server.logins, server.refusals, server.errors) == ([], [], [])
    assert becomes_true(lambda: threading.active_count() == before)  # a thread ends shortly after its connection


@pytest.mark.parametrize("stage", ["tcp", "tls", "sasl"])
def test_stop_ends_waiting_connections(stage: str, certificate: ServerCertificate, tls_backend: Any) -> None:
    """`stop` does not wait for clients, and ends all threads."""
    before = threading.active_count()
    with ScramServer({"app": PASSWORD}, certificate, tls_backend=tls_backend, timeout=600) as server:
        sock = socket.create_connection((server.host, server.port), timeout=10)
        if stage != "tcp":
            stream = request_tls(sock)
            assert stream is not None
            sock = stream
        if stage == "sasl":
            Client(sock).begin("app")
        assert becomes_true(lambda: threading.active_count() == before + 2)
    sock.close()
    assert becomes_true(lambda: threading.active_count() == before)  # a thread ends shortly after its connection
    assert server.errors == []


def test_silent_client_times_out(certificate: ServerCertificate, tls_backend: Any) -> None:
    """The server closes the connection and records a `TimeoutError`."""
    with ScramServer({"app": PASSWORD}, certificate, tls_backend=tls_backend, timeout=0.2) as server:
        with connect(server) as client:
            client.begin("app")
            assert client.stream.recv(1) == b""
        assert becomes_true(lambda: bool(server.errors))
    assert [type(error) for error in server.errors] == [TimeoutError]


def test_client_without_tls_is_an_error(certificate: ServerCertificate, tls_backend: Any) -> None:
    """The server closes the connection. Invalid bytes in place of a ClientHello are a TLS error."""
    with ScramServer({"app": PASSWORD}, certificate, tls_backend=tls_backend) as server:
        with socket.create_connection((server.host, server.port), timeout=10) as sock:
            sock.sendall(messages.startup([("user", "app")]))
            assert sock.recv(1) == b""
        assert becomes_true(lambda: len(server.errors) == 1)
        assert "did not request TLS" in str(server.errors[0])
        with socket.create_connection((server.host, server.port), timeout=10) as sock:
            sock.sendall(SSL_REQUEST + b"\x16 is no record at all")
            with suppress(ConnectionResetError):
                while sock.recv(100):
                    pass
        assert becomes_true(lambda: len(server.errors) == 2)
    message = str(server.errors[1]).lower().replace("_", " ")
    assert "wrong version number" in message or "packet length too long" in message  # depends on the OpenSSL version


def test_invalid_startup_packets_are_refused(certificate: ServerCertificate) -> None:
    """Another protocol version and a missing user name are refused. A CancelRequest gets no response."""
    with ScramServer({"app": PASSWORD}, certificate) as server:
        with connect(server) as client:
            client.stream.sendall(messages.cancel_request(1, b"1234"))
            assert client.receive() == (b"", b"")
        assert server.refusals == []
        with connect(server) as client:
            client.stream.sendall(struct.pack("!iI", 9, 2 << 16) + b"\0")
            assert messages.parse_fields(client.receive()[1])["C"] == "0A000"
        with connect(server) as client:
            client.stream.sendall(messages.startup([]))
            assert messages.parse_fields(client.receive()[1])["C"] == "28000"
        with connect(server) as client:
            client.begin("app")
            assert client.answer(messages.query("select 1"))["C"] == "08P01"
    assert len(server.refusals) == 3
    assert server.errors == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mechanisms": ["SCRAM-SHA-1"]}, "unknown mechanism: 'SCRAM-SHA-1'"),
        ({"mechanisms": []}, "mechanisms is empty"),
        ({"channel_bindings": ["tls-server-endpoint"]}, "unknown channel binding type"),
        ({"channel_bindings": ["tls-exporter"], "tls_backend": "stdlib"}, "for the TLS backend stdlib: 'tls-exporter'"),
        ({"tls_backend": "gnutls"}, "unknown TLS backend: 'gnutls'"),
        ({"iterations": 0}, "iterations must be between"),
        ({"roles": {"app": ""}}, "an empty password"),
        ({"roles": {"app": "SCRAM-SHA-256$4096:abc$def:ghi"}}, "is malformed"),
    ],
)
def test_invalid_arguments_are_refused(options: dict[str, Any], text: str, certificate: ServerCertificate) -> None:
    """The constructor raises the error, and the message shows no password."""
    arguments: dict[str, Any] = {"roles": {"app": PASSWORD}, "certificate": certificate, **options}
    with pytest.raises(ConfigError, match=text) as caught:
        ScramServer(**arguments)
    assert PASSWORD not in str(caught.value)
    assert "def" not in str(caught.value)


def test_default_backend_is_openssl_unless_bindings_exclude_tls_exporter(certificate: ServerCertificate) -> None:
    """Only ``openssl`` supports tls-exporter."""
    pytest.importorskip("OpenSSL", reason="this test needs pyOpenSSL")
    assert ScramServer({}, certificate).tls_backend == "openssl"
    assert ScramServer({}, certificate, channel_bindings=["tls-exporter"]).tls_backend == "openssl"
    assert ScramServer({}, certificate, channel_bindings=["tls-unique"]).tls_backend == "stdlib"


def test_tls_exporter_without_pyopenssl_is_refused_with_remedy() -> None:
    """Without pyOpenSSL, the default backend is ``stdlib``, which supports the other two types."""
    program = (
        "import sys; sys.modules['OpenSSL'] = None\n"
        "from importlib import util; find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'OpenSSL' else find(name, *rest)\n"
        "from babar_tls.testing import CertificateAuthority, ScramServer\n"
        "certificate = CertificateAuthority().issue('localhost')\n"
        "print(ScramServer({}, certificate).tls_backend)\n"
        "try: ScramServer({}, certificate, channel_bindings=['tls-exporter'])\n"
        "except ImportError as exc: print(exc)"
    )
    done = subprocess.run(  # noqa: S603 - a program of this test
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("stdlib\n")
    assert "pip install 'babar-tls[openssl]'" in done.stdout


# Parsing ------------------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.dictionaries(NAMES, VALUES))
def test_startup_round_trip(parameters: dict[str, str]) -> None:
    assert parse_startup(messages.startup(parameters.items())) == parameters


@given(st.binary(max_size=60), st.sampled_from([b"", struct.pack("!I", messages.PROTOCOL_3_0)]))
def test_arbitrary_startup_raises_only_refused_error(body: bytes, code: bytes) -> None:
    packet = struct.pack("!I", 4 + len(code + body)) + code + body
    try:
        parsed = parse_startup(packet)
    except RefusedError:
        return
    assert parsed is None or all(parsed)


@given(st.text(st.characters(codec="ascii", exclude_characters="\0")), st.binary())
def test_sasl_initial_response_round_trip(mechanism: str, response: bytes) -> None:
    payload = messages.sasl_initial_response(mechanism, response)[5:]
    assert parse_sasl_initial_response(payload) == (mechanism, response)


@given(st.binary(max_size=60))
def test_arbitrary_sasl_initial_response_raises_only_refused_error(payload: bytes) -> None:
    """The mechanism and the response together are the whole message."""
    try:
        mechanism, response = parse_sasl_initial_response(payload)
    except RefusedError:
        return
    assert len(payload.partition(b"\0")[0]) + 5 + len(response) == len(payload)
    assert "\0" not in mechanism


@given(st.from_regex(r"[A-Za-z0-9.-]+", fullmatch=True), st.binary())
def test_gs2_flag_ends_at_first_comma(binding_type: str, rest: bytes) -> None:
    """The rest of the message has no effect (RFC 5802 §7)."""
    assert gs2_flag(f"p={binding_type},,".encode() + rest) == ("p", binding_type)
    assert gs2_flag(b"n,," + rest) == ("n", None)
    assert gs2_flag(b"y,," + rest) == ("y", None)


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40), st.integers(1, 20))
def test_verifier_round_trip(password: bytes, salt: bytes, iterations: int) -> None:
    """A verifier has the salt, the iteration count and the keys that it was made from."""
    secret = parse_verifier(scram_verifier(password, salt=salt, iterations=iterations))
    assert secret is not None
    keys = scram_keys(password, salt, iterations)
    assert (secret.salt, secret.iterations) == (salt, iterations)
    assert (secret.keys.stored_key, secret.keys.server_key) == (keys.stored_key, keys.server_key)


@given(st.data())
def test_changed_verifier_is_complete_or_refused(data: st.DataObject) -> None:
    """After a change, parsing returns `None` or a secret whose keys have 32 bytes."""
    text = scram_verifier("x", iterations=1)
    position = data.draw(st.integers(0, len(text)))
    changed = text[:position] + data.draw(st.text(max_size=2)) + text[position + data.draw(st.integers(0, 2)) :]
    secret = parse_verifier(changed)
    if secret is not None:
        assert len(secret.keys.stored_key) == len(secret.keys.server_key) == 32
        assert secret.iterations >= 1


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_mock_secret_has_constant_salt_and_new_keys(user: str) -> None:
    """For a role that does not exist, the salt is the same in each login, and the keys are random."""
    secrets = Secrets({}, 1)
    one, two = secrets.of(user), secrets.of(user)
    assert one.salt == two.salt
    assert len(one.salt) == 16
    assert one.keys.stored_key != two.keys.stored_key


def test_repr_of_secret_shows_no_key() -> None:
    secret = parse_verifier(scram_verifier("x", iterations=1))
    assert secret is not None
    assert base64.b64encode(secret.keys.stored_key).decode() not in repr(secret)
    assert repr(secret.keys.stored_key) not in repr(secret)
