"""Every registered channel binding, by every backend, over real sockets: that it binds, and what it is good for.

PostgreSQL accepts tls-server-end-point alone; `ScramServer` stands in for a server that accepts the others.
"""

from __future__ import annotations

import logging
import socket
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

pytest.importorskip("cryptography")

from babar_tls import (
    AuthError,
    ChannelBindingError,
    ChannelBindingRefused,
    ChannelBindingUnsupported,
    Config,
    ConfigError,
    ServerError,
    available_backends,
)
from babar_tls.backends import get_backend
from babar_tls.config.enums import CHANNEL_BINDING_TYPES
from babar_tls.protocol import messages
from babar_tls.protocol.channel_binding import channel_binding_data
from babar_tls.testing import CertificateAuthority, ScramServer, ScriptedServer, ServerCertificate, TlsInterceptor
from babar_tls.testing._backend_protocol import (
    get_ready,
    parse_sasl_initial_response,
    receive_sasl_response,
    send_request,
)
from babar_tls.testing._tls_contexts import request_tls
from babar_tls.testing.scram_server import ScramLogin

from .conftest import PASSWORD
from .drivers import STYLES, connected

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer, ScriptedPeer

END_POINT, UNIQUE, EXPORTER = "tls-server-end-point", "tls-unique", "tls-exporter"
PLUS, PLAIN = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"
VERSIONS = ["TLSv1.2", "TLSv1.3"]
NUMBERS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
#: The version that has the binding, and why the other has not.
HOME = {
    END_POINT: (VERSIONS, ""),
    UNIQUE: (["TLSv1.2"], "tls-unique is not defined for TLSv1.3"),
    EXPORTER: (["TLSv1.3"], "tls-exporter requires TLS 1.3, and TLSv1.2 was negotiated"),
}
#: What a backend says that lacks it.
LACKING = {UNIQUE: "does not expose Finished messages", EXPORTER: "does not export keying material"}


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=available_backends())
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


class World(NamedTuple):
    """An authority that the client trusts, the server's certificate, and a client's configuration without a port."""

    authority: CertificateAuthority
    certificate: ServerCertificate
    config: Config

    def server(self, version: str | None = None, **options: Any) -> ScramServer:
        """A server of one version of TLS, or of both."""
        number = NUMBERS[version] if version else None
        bounds = {"minimum_version": number, "maximum_version": number}
        return ScramServer({"app": PASSWORD}, self.certificate, **bounds, **options)

    def client(self, port: int, **changes: Any) -> Config:
        return self.config.replace(port=port, **changes)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    authority = CertificateAuthority()
    path = tmp_path_factory.mktemp("bindings") / "root.crt"
    authority.write(path)
    config = Config(
        host="127.0.0.1", user="app", password=PASSWORD, tls_root_cert_path=str(path), tls_default_roots=False
    )
    return World(authority, authority.issue("localhost", "127.0.0.1"), config)


def why_not(backend: str, binding: str, version: str) -> str | None:
    """Why there is no such binding, `None` where there is: by the RFCs, and by what the backend says of itself."""
    versions, reason = HOME[binding]
    if version not in versions:
        return reason
    return None if binding in get_backend(backend).capabilities.channel_bindings else LACKING[binding]


def need(backend: str, binding: str) -> None:
    if binding not in get_backend(backend).capabilities.channel_bindings:
        pytest.skip(f"{backend} has no {binding}: test_each_binding says so")
    if binding == EXPORTER:
        pytest.importorskip("OpenSSL", reason="the server's exporter")


# Each binding, each version, each backend --------------------------------------------------------------------------


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("binding", CHANNEL_BINDING_TYPES)
def test_each_binding(*, world: World, backend: str, style: str, binding: str, version: str, negotiation: str) -> None:
    """It binds, and the server agrees; or ``require`` says why not, and ``prefer`` logs in without, and says so."""
    pytest.importorskip("OpenSSL", reason="the server that has every binding")
    reason = why_not(backend, binding, version)
    with world.server(version) as server:
        config = world.client(
            server.port,
            tls_backend=backend,
            tls_negotiation=negotiation,
            channel_binding="require",
            channel_binding_type=binding,
        )
        if reason is not None:
            with pytest.raises(ChannelBindingUnsupported) as caught, connected(config, style):
                pass
            assert "channel binding required, but" in str(caught.value)
            assert reason in str(caught.value)
            assert server.logins == []
            expected = ScramLogin("app", PLAIN, "n", None, version)
        else:
            expected = ScramLogin("app", PLUS, "p", binding, version)
        for policy in ["prefer"] if reason else ["require", "prefer"]:
            server.logins.clear()
            with connected(config.replace(channel_binding=policy), style) as session:
                security = session.security
                assert session.query("select 1") == [("1",)]
            assert (security.tls_version, security.negotiation) == (version, negotiation)
            assert security.gs2_flag == expected.gs2_flag
            assert security.channel_binding_type == expected.channel_binding_type
            assert security.channel_bound is (reason is None)
            assert security.auth_method == expected.mechanism.lower()
            assert server.logins == [expected]
    assert (server.refusals, server.errors) == ([], [])


@pytest.mark.parametrize(("binding", "version"), [(UNIQUE, "TLSv1.3"), (EXPORTER, "TLSv1.2")])
def test_going_without_is_logged(
    *, world: World, backend: str, style: str, binding: str, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who prefers a binding and does not get it reads in the log why; it is never ``y``, which would be a lie."""
    with world.server(version) as server, caplog.at_level(logging.WARNING, "babar_tls"):
        config = world.client(server.port, tls_backend=backend, channel_binding_type=binding)
        with connected(config, style) as session:
            assert (session.security.gs2_flag, session.security.channel_bound) == ("n", False)
    (record,) = caplog.records
    assert f"channel binding is not possible: {HOME[binding][1]}" in record.getMessage()
    assert [login.gs2_flag for login in server.logins] == ["n"]


def test_the_exporter_that_an_engine_lacks(world: World, style: str, caplog: pytest.LogCaptureFixture) -> None:
    """The standard library has no exporter, on any version: required it fails, preferred it is done without."""
    with world.server("TLSv1.3") as server, caplog.at_level(logging.WARNING, "babar_tls"):
        config = world.client(server.port, tls_backend="stdlib", channel_binding_type=EXPORTER)
        with (
            pytest.raises(ChannelBindingUnsupported, match="does not export keying material"),
            connected(config.replace(channel_binding="require"), style),
        ):
            pass
        with connected(config, style) as session:
            assert session.security.gs2_flag == "n"
    assert "does not export keying material" in caplog.text


def test_bytes_that_bind_nothing(world: World) -> None:
    """For tls-unique `ssl` returns bytes on TLS 1.3 too (RFC 8446 §C.5: undefined); nobody here asks for them."""
    with (
        world.server("TLSv1.3") as server,
        socket.create_connection((server.host, server.port), timeout=10) as sock,
    ):
        stream = request_tls(sock)
        assert stream is not None
        with stream:
            assert stream.version() == "TLSv1.3"
            assert stream.get_channel_binding("tls-unique")
            facts = SimpleNamespace(version=stream.version(), first_finished_message=lambda: b"never asked for")
            with pytest.raises(ChannelBindingUnsupported, match=r"not defined for TLSv1\.3"):
                channel_binding_data(UNIQUE, cast("Any", facts))


@pytest.mark.parametrize("server_backend", ["stdlib", "openssl"])
@pytest.mark.parametrize(("binding", "version"), [(END_POINT, "TLSv1.2"), (END_POINT, "TLSv1.3"), (UNIQUE, "TLSv1.2")])
def test_either_engine_of_the_server(
    *, world: World, backend: str, style: str, server_backend: Any, binding: str, version: str
) -> None:
    """The two ends need not be the same library for the two to agree."""
    need(backend, binding)
    if server_backend == "openssl":
        pytest.importorskip("OpenSSL", reason="the backend of the server")
    with world.server(version, tls_backend=server_backend) as server:
        config = world.client(server.port, tls_backend=backend, channel_binding="require", channel_binding_type=binding)
        with connected(config, style) as session:
            assert session.security.channel_binding_type == binding
    assert [login.channel_binding_type for login in server.logins] == [binding]


@pytest.mark.parametrize("binding", CHANNEL_BINDING_TYPES)
def test_each_connection_has_its_own(world: World, backend: str, style: str, binding: str) -> None:
    """Reconnecting, with keys from the cache and perhaps a ticket from the last time, binds anew each time."""
    need(backend, binding)
    with world.server(HOME[binding][0][0]) as server:
        config = world.client(server.port, tls_backend=backend, channel_binding="require", channel_binding_type=binding)
        for _ in range(3):
            with connected(config, style) as session:
                assert session.security.channel_bound
    assert [login.channel_binding_type for login in server.logins] == [binding] * 3
    assert (server.refusals, server.errors) == ([], [])


# A man in the middle -----------------------------------------------------------------------------------------------

#: A binding, and a version that has it.
AGAINST = [(END_POINT, "TLSv1.2"), (END_POINT, "TLSv1.3"), (UNIQUE, "TLSv1.2"), (EXPORTER, "TLSv1.3")]


@pytest.mark.parametrize("policy", ["require", "prefer"])
@pytest.mark.parametrize(("binding", "version"), AGAINST)
def test_an_attacker_with_another_certificate(
    *, world: World, backend: str, style: str, binding: str, version: str, policy: str
) -> None:
    """Every binding finds out an attacker whose certificate the client accepts: the server says so, nothing is read."""
    need(backend, binding)
    another = world.authority.issue("localhost", "127.0.0.1")
    with world.server(version) as server, TlsInterceptor(server.host, server.port, another) as attacker:
        config = world.client(
            attacker.port,
            tls_backend=backend,
            tls_max_version=version,
            channel_binding=policy,
            channel_binding_type=binding,
        )
        with pytest.raises(ChannelBindingRefused, match="SCRAM channel binding check failed"), connected(config, style):
            pass
        assert f"p={binding},,".encode() in attacker.seen
        assert attacker.errors == []
    assert [refusal.sqlstate for refusal in server.refusals] == ["28000"]
    assert (server.logins, server.errors) == ([], [])


@pytest.mark.parametrize(("binding", "version"), AGAINST)
def test_an_attacker_with_the_servers_own_key(
    *, world: World, backend: str, style: str, binding: str, version: str
) -> None:
    """An attacker who has stolen the server's key presents its end-point: only the other two see two connections."""
    need(backend, binding)
    with world.server(version) as server, TlsInterceptor(server.host, server.port, world.certificate) as attacker:
        config = world.client(
            attacker.port,
            tls_backend=backend,
            tls_max_version=version,
            channel_binding="require",
            channel_binding_type=binding,
        )
        if binding == END_POINT:
            with connected(config, style) as session:
                assert session.security.channel_bound
                assert session.query("select 1") == [("1",)]
            assert b"select 1" in attacker.seen  # blind: it binds to the key's owner, and here there are two
            assert [login.channel_binding_type for login in server.logins] == [END_POINT]
        else:
            with (
                pytest.raises(ChannelBindingRefused, match="SCRAM channel binding check failed"),
                connected(config, style),
            ):
                pass
            assert server.logins == []
            assert [refusal.sqlstate for refusal in server.refusals] == ["28000"]
        assert attacker.errors == []
    assert server.errors == []


@pytest.mark.parametrize(("binding", "version"), AGAINST)
def test_an_attacker_who_hides_the_binding(
    *, world: World, backend: str, style: str, binding: str, version: str
) -> None:
    """With PLUS taken out of the offer the client says ``y``, and the server knows that it has been lied to."""
    need(backend, binding)
    with (
        world.server(version) as server,
        TlsInterceptor(server.host, server.port, world.certificate, strip_plus=True) as attacker,
    ):
        config = world.client(attacker.port, tls_backend=backend, tls_max_version=version, channel_binding_type=binding)
        with (
            pytest.raises(ChannelBindingRefused, match="SCRAM channel binding negotiation error"),
            connected(config, style),
        ):
            pass
        assert b"y,,n=" in attacker.seen
        with (
            pytest.raises(ChannelBindingError, match="server did not offer an authentication method"),
            connected(config.replace(channel_binding="require"), style),
        ):
            pass
    assert [refusal.sqlstate for refusal in server.refusals] == ["28000"]
    assert (server.logins, server.errors) == ([], [])


def test_an_attacker_who_meets_no_binding(world: World, backend: str, style: str) -> None:
    """What all this is for: without a binding the attacker with another certificate reads along."""
    another = world.authority.issue("localhost", "127.0.0.1")
    with world.server() as server, TlsInterceptor(server.host, server.port, another) as attacker:
        with connected(world.client(attacker.port, tls_backend=backend, channel_binding="disable"), style) as session:
            assert session.query("select 1") == [("1",)]
        assert b"select 1" in attacker.seen
    assert [login.gs2_flag for login in server.logins] == ["n"]


# An implementation that we did not write ---------------------------------------------------------------------------


def need_scramp() -> Any:
    """Import scramp, or skip the test."""
    return pytest.importorskip("scramp", minversion="1.5", reason="this test needs scramp 1.5 or later")


def scramp_login(server: ScramServer, binding: str) -> None:
    """Log in with the client of scramp, which asks the TLS socket for the data itself."""
    scramp = need_scramp()

    def body(stream: ssl.SSLSocket) -> bytes:
        head = b""
        while len(head) < 5:
            head += stream.recv(5 - len(head)) or pytest.fail("the server has hung up")
        payload = b""
        while len(payload) < int.from_bytes(head[1:], "big") - 4:
            payload += stream.recv(int.from_bytes(head[1:], "big") - 4 - len(payload))
        if head[:1] == b"E":
            raise ServerError(messages.parse_fields(payload))
        return payload[4:]

    with socket.create_connection((server.host, server.port), timeout=10) as sock:
        stream = request_tls(sock)
        assert stream is not None
        with stream:
            stream.sendall(messages.startup([("user", "app")]))
            offered = [name.decode() for name in body(stream).split(b"\0") if name]
            client = scramp.ScramClient(offered, "whoever", PASSWORD, channel_binding=(binding, stream))
            assert client.mechanism_name == PLUS
            stream.sendall(messages.sasl_initial_response(PLUS, client.get_client_first().encode()))
            client.set_server_first(body(stream).decode())
            stream.sendall(messages.sasl_response(client.get_client_final().encode()))
            client.set_server_final(body(stream).decode())  # raises if the server does not know the password
            assert body(stream) == b""  # AuthenticationOk
            stream.sendall(messages.TERMINATE)


@pytest.mark.parametrize("server_backend", ["stdlib", "openssl"])
@pytest.mark.parametrize(("binding", "version"), [(END_POINT, "TLSv1.2"), (END_POINT, "TLSv1.3"), (UNIQUE, "TLSv1.2")])
def test_scramp_logs_in(world: World, binding: str, version: str, server_backend: Any) -> None:
    """The client of scramp derives the same data from its end as the server from the other."""
    need_scramp()
    if server_backend == "openssl":
        pytest.importorskip("OpenSSL", reason="the backend of the server")
    with world.server(version, tls_backend=server_backend) as server:
        scramp_login(server, binding)
    assert server.logins == [ScramLogin("app", PLUS, "p", binding, version)]
    assert (server.refusals, server.errors) == ([], [])


def test_scramp_binds_by_unique_on_tls13_and_is_refused(world: World) -> None:
    """Scramp takes the bytes that `ssl` has for tls-unique on TLS 1.3, where it is undefined; the server has none."""
    need_scramp()
    with world.server("TLSv1.3") as server, pytest.raises(ServerError, match="unsupported SCRAM channel-binding type"):
        scramp_login(server, UNIQUE)
    assert server.logins == []


def test_scramp_has_no_exporter() -> None:
    """It refuses the type by name, even where one has the data: nobody independent can prove tls-exporter here.

    What can, does so in tests/testing/test_scram_server.py, with the RFC's label written out.
    """
    scramp = need_scramp()
    with pytest.raises(scramp.ScramException, match="not supported by Scramp"):
        scramp.ScramClient([PLUS], "app", PASSWORD, channel_binding=(EXPORTER, bytes(32)))
    with pytest.raises(scramp.ScramException, match="not supported by Scramp"):
        scramp.ScramMechanism(PLUS).make_server(lambda _user: None, channel_binding=(EXPORTER, bytes(32)))


@pytest.mark.parametrize(("binding", "version"), [(END_POINT, "TLSv1.2"), (END_POINT, "TLSv1.3"), (UNIQUE, "TLSv1.2")])
def test_scramp_accepts_our_client(*, world: World, backend: str, style: str, binding: str, version: str) -> None:
    """The server of scramp, asked for the data by its own means, accepts our client and is accepted by it."""
    scramp = need_scramp()
    need(backend, binding)
    mechanism = scramp.ScramMechanism(PLUS)
    stored = mechanism.make_auth_info(PASSWORD)
    flags: list[str] = []

    def script(peer: ScriptedPeer) -> None:
        source = peer.tls if binding == UNIQUE else world.certificate.certificate_pem.decode()
        server = mechanism.make_server(lambda _user: stored, channel_binding=(binding, source))
        peer.receive_startup()
        send_request(peer, 10, f"{PLUS}\0{PLAIN}\0\0".encode())
        name, first = parse_sasl_initial_response(receive_sasl_response(peer))
        assert name == PLUS
        # scramp wants a user name, and PostgreSQL's clients send none: it is shown one, and signs what was sent.
        server.set_client_first(first.decode().replace("n=,", "n=app,", 1))
        server.client_first_bare = first.decode().split(",", 2)[2]
        flags.append(str(server.gs2_header))
        send_request(peer, 11, server.get_server_first().encode())
        server.set_client_final(receive_sasl_response(peer).decode())
        send_request(peer, 12, server.get_server_final().encode())
        get_ready(peer)
        assert peer.receive_message()[0] == b"X"

    bounds = {"minimum_version": NUMBERS[version], "maximum_version": NUMBERS[version]}
    with ScriptedServer(script, tls=world.certificate, **bounds) as server:
        config = world.client(server.port, tls_backend=backend, channel_binding="require", channel_binding_type=binding)
        with connected(config, style) as session:
            assert session.security.channel_binding_type == binding
            assert session.security.server_authenticated
    assert server.errors == []
    assert flags == [f"p={binding},,"]


# PostgreSQL itself --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["require", "prefer"])
@pytest.mark.parametrize(("binding", "version"), [(UNIQUE, "TLSv1.2"), (EXPORTER, "TLSv1.3")])
def test_postgresql_refuses_the_others(
    *, tls_server: PostgresServer, backend: str, style: str, binding: str, version: str, policy: str
) -> None:
    """PostgreSQL 17 knows one type; asked for another it says so itself, and nobody logs in."""
    if binding not in get_backend(backend).capabilities.channel_bindings:
        pytest.skip(f"{backend} has no {binding} to ask with")
    config = tls_server.config(
        user="scram_role",
        password=PASSWORD,
        tls_backend=backend,
        tls_max_version=version,
        channel_binding=policy,
        channel_binding_type=binding,
    )
    with pytest.raises(ServerError) as caught, connected(config, style):
        pass
    assert (caught.value.severity, caught.value.code) == ("FATAL", "08P01")
    assert f'unsupported SCRAM channel-binding type "{binding}"' in str(caught.value)


# The parameter of 2018 ----------------------------------------------------------------------------------------------


def by_string(world: World, port: int, text: str, **changes: Any) -> Config:
    """A client from a connection string of that time, with no environment about it."""
    root = world.config.tls_root_cert_path
    string = f"host=127.0.0.1 port={port} user=app sslmode=verify-full sslrootcert='{root}' {text}"
    return Config.from_conninfo(string, allow_files=True, environ={}, password=PASSWORD, **changes)


def test_scram_channel_binding_default(world: World, backend: str, style: str) -> None:
    """Not given, it binds by tls-server-end-point, on either version; in 2018 by tls-unique, which TLS 1.3 ended."""
    for version in VERSIONS:
        with (
            world.server(version) as server,
            connected(by_string(world, server.port, "", tls_backend=backend), style) as session,
        ):
            assert session.security.channel_bound
        assert server.logins == [ScramLogin("app", PLUS, "p", END_POINT, version)]


@pytest.mark.parametrize(("binding", "version"), AGAINST)
def test_scram_channel_binding_selects_a_type(
    *, world: World, backend: str, style: str, binding: str, version: str
) -> None:
    """A type is selected by its name: tls-unique, the default of 2018, still binds where there is TLS 1.2."""
    need(backend, binding)
    with world.server(version) as server:
        config = by_string(world, server.port, f"scram_channel_binding={binding}", tls_backend=backend)
        with connected(config, style) as session:
            assert session.security.channel_binding_type == binding
    assert server.logins == [ScramLogin("app", PLUS, "p", binding, version)]


def test_scram_channel_binding_empty_disables(world: World, backend: str, style: str) -> None:
    """An empty value disables it: the client says ``n``, and plain SCRAM is used."""
    with world.server() as server:
        config = by_string(world, server.port, "scram_channel_binding=''", tls_backend=backend)
        with connected(config, style) as session:
            assert session.security.auth_method == "scram-sha-256"
    assert [(login.mechanism, login.gs2_flag) for login in server.logins] == [(PLAIN, "n")]


@pytest.mark.parametrize("name", ["tls-server-endpoint", "not-exists", "tls-unique-for-telnet", "TLS-UNIQUE"])
def test_scram_channel_binding_wrong_type_fails_visibly(world: World, name: str) -> None:
    """A name that is no type's is an error that shows it, before anything is connected."""
    with world.server() as server:
        with pytest.raises(ConfigError, match="invalid scram_channel_binding value") as caught:
            by_string(world, server.port, f"scram_channel_binding={name}")
        assert name in str(caught.value)
    assert server.connections == 0


@pytest.mark.parametrize(("binding", "version"), [(UNIQUE, "TLSv1.3"), (EXPORTER, "TLSv1.2")])
def test_scram_channel_binding_unsupported_type_fails_visibly(
    *, world: World, backend: str, style: str, binding: str, version: str
) -> None:
    """A type that the connection does not have is an error, and never a login with ``n``."""
    with world.server(version) as server:
        config = by_string(world, server.port, f"scram_channel_binding={binding}", tls_backend=backend)
        with pytest.raises(ChannelBindingUnsupported) as caught, connected(config, style):
            pass
        assert HOME[binding][1] in str(caught.value)
    assert (server.logins, server.refusals, server.errors) == ([], [], [])


def test_scram_channel_binding_type_that_the_engine_lacks_fails_visibly(world: World, style: str) -> None:
    """So is one that the backend does not have."""
    with world.server("TLSv1.3") as server:
        config = by_string(world, server.port, f"scram_channel_binding={EXPORTER}", tls_backend="stdlib")
        with pytest.raises(ChannelBindingUnsupported, match="does not export"), connected(config, style):
            pass
    assert server.logins == []


@pytest.mark.parametrize("binding", CHANNEL_BINDING_TYPES)
def test_scram_channel_binding_type_that_the_server_refuses(
    world: World, backend: str, style: str, binding: str
) -> None:
    """A type that the server does not accept is refused by it, in PostgreSQL's way."""
    need(backend, binding)
    version = HOME[binding][0][-1]
    others = [END_POINT] if binding != END_POINT else [UNIQUE, EXPORTER]
    if EXPORTER in others:
        pytest.importorskip("OpenSSL", reason="the server's exporter")
    with world.server(version, channel_bindings=others) as server:
        config = by_string(world, server.port, f"scram_channel_binding={binding}", tls_backend=backend)
        with (
            pytest.raises(ServerError, match="unsupported SCRAM channel-binding type") as caught,
            connected(config, style),
        ):
            pass
    assert caught.value.code == "08P01"
    assert server.logins == []


@pytest.mark.parametrize("binding", [UNIQUE, EXPORTER])
def test_scram_channel_binding_unsupported_by_postgresql(
    tls_server: PostgresServer, backend: str, style: str, binding: str
) -> None:
    """PostgreSQL 17, which has neither of these, says so; its words reach the user."""
    if binding not in get_backend(backend).capabilities.channel_bindings:
        pytest.skip(f"{backend} has no {binding} to ask with")
    bound = "ssl_max_protocol_version=TLSv1.2" if binding == UNIQUE else ""
    string = (
        f"host=localhost port={tls_server.port} user=scram_role dbname=postgres sslmode=verify-full "
        f"sslrootcert='{tls_server.root_cert_path}' scram_channel_binding={binding} {bound}"
    )
    config = Config.from_conninfo(string, environ={}, password=PASSWORD, tls_backend=backend)
    text = f'unsupported SCRAM channel-binding type "{binding}"'
    with pytest.raises(ServerError, match=text), connected(config, style):
        pass


def test_scram_channel_binding_without_plus(world: World, backend: str, style: str) -> None:
    """A server that offers no binding is an error where a type was named; in 2018 the client went on without."""
    with world.server(mechanisms=[PLAIN]) as server:
        config = by_string(world, server.port, f"scram_channel_binding={END_POINT}", tls_backend=backend)
        with pytest.raises(AuthError, match="server did not offer an authentication method"), connected(config, style):
            pass
        with connected(by_string(world, server.port, "", tls_backend=backend), style) as session:
            assert session.security.gs2_flag == "y"
    assert [login.gs2_flag for login in server.logins] == ["y"]


@pytest.mark.parametrize("where", ["host=/run/s", "host=h sslmode=disable", "host=h,/run/s", "host=h tls_mode=disable"])
def test_scram_channel_binding_without_tls_is_ignored(where: str) -> None:
    """Where there is no TLS by configuration a named type demands nothing, as in 2018."""
    config = Config.from_conninfo(f"{where} user=u scram_channel_binding=tls-unique", environ={})
    assert (config.channel_binding.value, config.channel_binding_type) == ("prefer", UNIQUE)


@pytest.mark.parametrize("policy", ["prefer", "disable", "require"])
def test_scram_channel_binding_beside_channel_binding(policy: str) -> None:
    """``channel_binding``, which came later, says how strictly; the older word then says what."""
    text = f"host=h user=u channel_binding={policy} scram_channel_binding=tls-exporter"
    config = Config.from_conninfo(text, environ={})
    assert (config.channel_binding.value, config.channel_binding_type) == (policy, EXPORTER)
