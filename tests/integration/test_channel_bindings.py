"""All registered channel-binding types with all backends, over real sockets.

PostgreSQL accepts only tls-server-end-point. `ScramServer` accepts the other types too.
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
#: The TLS versions that have the binding, and the error with other versions.
DEFINED_FOR = {
    END_POINT: (VERSIONS, ""),
    UNIQUE: (["TLSv1.2"], "tls-unique is not defined for TLSv1.3"),
    EXPORTER: (["TLSv1.3"], "tls-exporter requires TLS 1.3, and TLSv1.2 was negotiated"),
}
#: The error of a backend without the binding.
MISSING = {UNIQUE: "does not expose Finished messages", EXPORTER: "does not export keying material"}


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=available_backends())
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


class World(NamedTuple):
    """A CA that the client trusts, the server's certificate, and a client's configuration without a port."""

    authority: CertificateAuthority
    certificate: ServerCertificate
    config: Config

    def server(self, version: str | None = None, **options: Any) -> ScramServer:
        """Return a server with one TLS version, or with both."""
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


def unsupported_reason(backend: str, binding: str, version: str) -> str | None:
    """Return the reason why a binding is not possible; None if it is."""
    versions, reason = DEFINED_FOR[binding]
    if version not in versions:
        return reason
    return None if binding in get_backend(backend).capabilities.channel_bindings else MISSING[binding]


def skip_without(backend: str, binding: str) -> None:
    if binding not in get_backend(backend).capabilities.channel_bindings:
        pytest.skip(f"{backend} does not provide {binding}")
    if binding == EXPORTER:
        pytest.importorskip("OpenSSL", reason="the server needs pyOpenSSL for tls-exporter")


# Each binding, version and backend ---------------------------------------------------------------------------------


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("binding", CHANNEL_BINDING_TYPES)
def test_binding_is_accepted_by_server_or_reported_as_unsupported(
    *, world: World, backend: str, style: str, binding: str, version: str, negotiation: str
) -> None:
    pytest.importorskip("OpenSSL", reason="the server needs pyOpenSSL for tls-exporter")
    reason = unsupported_reason(backend, binding, version)
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
def test_login_without_preferred_binding_sends_n_and_is_logged(
    *, world: World, backend: str, style: str, binding: str, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The flag ``y`` would state that the client supports the binding."""
    with world.server(version) as server, caplog.at_level(logging.WARNING, "babar_tls"):
        config = world.client(server.port, tls_backend=backend, channel_binding_type=binding)
        with connected(config, style) as session:
            assert (session.security.gs2_flag, session.security.channel_bound) == ("n", False)
    (record,) = caplog.records
    assert f"channel binding is not possible: {DEFINED_FOR[binding][1]}" in record.getMessage()
    assert [login.gs2_flag for login in server.logins] == ["n"]


def test_exporter_is_unsupported_by_stdlib_backend(world: World, style: str, caplog: pytest.LogCaptureFixture) -> None:
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


def test_tls_unique_is_refused_with_tls13(world: World) -> None:
    """`ssl` returns bytes for tls-unique with TLS 1.3 too, for which it is not defined (RFC 8446 §C.5)."""
    with (
        world.server("TLSv1.3") as server,
        socket.create_connection((server.host, server.port), timeout=10) as sock,
    ):
        stream = request_tls(sock)
        assert stream is not None
        with stream:
            assert stream.version() == "TLSv1.3"
            assert stream.get_channel_binding("tls-unique")
            facts = SimpleNamespace(version=stream.version(), first_finished_message=lambda: b"unused")
            with pytest.raises(ChannelBindingUnsupported, match=r"not defined for TLSv1\.3"):
                channel_binding_data(UNIQUE, cast("Any", facts))


@pytest.mark.parametrize("server_backend", ["stdlib", "openssl"])
@pytest.mark.parametrize(("binding", "version"), [(END_POINT, "TLSv1.2"), (END_POINT, "TLSv1.3"), (UNIQUE, "TLSv1.2")])
def test_binding_does_not_depend_on_tls_library_of_server(
    *, world: World, backend: str, style: str, server_backend: Any, binding: str, version: str
) -> None:
    skip_without(backend, binding)
    if server_backend == "openssl":
        pytest.importorskip("OpenSSL", reason="the server uses pyOpenSSL")
    with world.server(version, tls_backend=server_backend) as server:
        config = world.client(server.port, tls_backend=backend, channel_binding="require", channel_binding_type=binding)
        with connected(config, style) as session:
            assert session.security.channel_binding_type == binding
    assert [login.channel_binding_type for login in server.logins] == [binding]


@pytest.mark.parametrize("binding", CHANNEL_BINDING_TYPES)
def test_each_connection_is_bound_with_cached_keys(world: World, backend: str, style: str, binding: str) -> None:
    skip_without(backend, binding)
    with world.server(DEFINED_FOR[binding][0][0]) as server:
        config = world.client(server.port, tls_backend=backend, channel_binding="require", channel_binding_type=binding)
        for _ in range(3):
            with connected(config, style) as session:
                assert session.security.channel_bound
    assert [login.channel_binding_type for login in server.logins] == [binding] * 3
    assert (server.refusals, server.errors) == ([], [])


# Man in the middle -------------------------------------------------------------------------------------------------

#: Bindings with the TLS versions that have them.
BINDINGS = [(END_POINT, "TLSv1.2"), (END_POINT, "TLSv1.3"), (UNIQUE, "TLSv1.2"), (EXPORTER, "TLSv1.3")]


@pytest.mark.parametrize("policy", ["require", "prefer"])
@pytest.mark.parametrize(("binding", "version"), BINDINGS)
def test_attacker_with_other_certificate_is_refused_by_server(
    *, world: World, backend: str, style: str, binding: str, version: str, policy: str
) -> None:
    skip_without(backend, binding)
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


@pytest.mark.parametrize(("binding", "version"), BINDINGS)
def test_attacker_with_key_of_server_is_detected_except_by_end_point(
    *, world: World, backend: str, style: str, binding: str, version: str
) -> None:
    skip_without(backend, binding)
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
            assert b"select 1" in attacker.seen  # the binding proves the key, which the attacker has too
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


@pytest.mark.parametrize(("binding", "version"), BINDINGS)
def test_removed_scram_plus_is_detected(*, world: World, backend: str, style: str, binding: str, version: str) -> None:
    skip_without(backend, binding)
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


def test_attacker_is_not_detected_without_binding(world: World, backend: str, style: str) -> None:
    another = world.authority.issue("localhost", "127.0.0.1")
    with world.server() as server, TlsInterceptor(server.host, server.port, another) as attacker:
        with connected(world.client(attacker.port, tls_backend=backend, channel_binding="disable"), style) as session:
            assert session.query("select 1") == [("1",)]
        assert b"select 1" in attacker.seen
    assert [login.gs2_flag for login in server.logins] == ["n"]


# The independent implementation scramp -----------------------------------------------------------------------------


def import_scramp() -> Any:
    """Import scramp, or skip the test."""
    return pytest.importorskip("scramp", minversion="1.5", reason="this test needs scramp 1.5 or later")


def scramp_login(server: ScramServer, binding: str) -> None:
    """Log in with the client of scramp, which reads the binding data from the TLS socket itself."""
    scramp = import_scramp()

    def body(stream: ssl.SSLSocket) -> bytes:
        head = b""
        while len(head) < 5:
            head += stream.recv(5 - len(head)) or pytest.fail("the server closed the connection")
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
            client = scramp.ScramClient(offered, "ignored", PASSWORD, channel_binding=(binding, stream))
            assert client.mechanism_name == PLUS
            stream.sendall(messages.sasl_initial_response(PLUS, client.get_client_first().encode()))
            client.set_server_first(body(stream).decode())
            stream.sendall(messages.sasl_response(client.get_client_final().encode()))
            client.set_server_final(body(stream).decode())  # raises if the server signature is wrong
            assert body(stream) == b""  # AuthenticationOk
            stream.sendall(messages.TERMINATE)


@pytest.mark.parametrize("server_backend", ["stdlib", "openssl"])
@pytest.mark.parametrize(("binding", "version"), [(END_POINT, "TLSv1.2"), (END_POINT, "TLSv1.3"), (UNIQUE, "TLSv1.2")])
def test_client_of_scramp_logs_in(world: World, binding: str, version: str, server_backend: Any) -> None:
    import_scramp()
    if server_backend == "openssl":
        pytest.importorskip("OpenSSL", reason="the server uses pyOpenSSL")
    with world.server(version, tls_backend=server_backend) as server:
        scramp_login(server, binding)
    assert server.logins == [ScramLogin("app", PLUS, "p", binding, version)]
    assert (server.refusals, server.errors) == ([], [])


def test_tls_unique_of_scramp_is_refused_with_tls13(world: World) -> None:
    """Scramp uses the bytes that `ssl` returns for tls-unique with TLS 1.3, for which it is not defined."""
    import_scramp()
    with world.server("TLSv1.3") as server, pytest.raises(ServerError, match="unsupported SCRAM channel-binding type"):
        scramp_login(server, UNIQUE)
    assert server.logins == []


def test_scramp_does_not_support_exporter() -> None:
    """tests/testing/test_scram_server.py computes the binding data of tls-exporter independently instead."""
    scramp = import_scramp()
    with pytest.raises(scramp.ScramException, match="not supported by Scramp"):
        scramp.ScramClient([PLUS], "app", PASSWORD, channel_binding=(EXPORTER, bytes(32)))
    with pytest.raises(scramp.ScramException, match="not supported by Scramp"):
        scramp.ScramMechanism(PLUS).make_server(lambda _user: None, channel_binding=(EXPORTER, bytes(32)))


@pytest.mark.parametrize(("binding", "version"), [(END_POINT, "TLSv1.2"), (END_POINT, "TLSv1.3"), (UNIQUE, "TLSv1.2")])
def test_server_of_scramp_accepts_login(*, world: World, backend: str, style: str, binding: str, version: str) -> None:
    scramp = import_scramp()
    skip_without(backend, binding)
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
        # scramp requires a user name, which clients of PostgreSQL do not send. The signature covers what was sent.
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


# PostgreSQL ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["require", "prefer"])
@pytest.mark.parametrize(("binding", "version"), [(UNIQUE, "TLSv1.2"), (EXPORTER, "TLSv1.3")])
def test_postgresql_refuses_other_bindings(
    *, tls_server: PostgresServer, backend: str, style: str, binding: str, version: str, policy: str
) -> None:
    if binding not in get_backend(backend).capabilities.channel_bindings:
        pytest.skip(f"{backend} does not provide {binding}")
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


# The keyword scram_channel_binding ----------------------------------------------------------------------------------


def config_from_string(world: World, port: int, text: str, **changes: Any) -> Config:
    """Return a configuration from a connection string, without environment variables."""
    root = world.config.tls_root_cert_path
    string = f"host=127.0.0.1 port={port} user=app sslmode=verify-full sslrootcert='{root}' {text}"
    return Config.from_conninfo(string, allow_files=True, environ={}, password=PASSWORD, **changes)


def test_default_binding_is_end_point(world: World, backend: str, style: str) -> None:
    """In development versions of PostgreSQL 11 the default was tls-unique, which TLS 1.3 does not have."""
    for version in VERSIONS:
        with (
            world.server(version) as server,
            connected(config_from_string(world, server.port, "", tls_backend=backend), style) as session,
        ):
            assert session.security.channel_bound
        assert server.logins == [ScramLogin("app", PLUS, "p", END_POINT, version)]


@pytest.mark.parametrize(("binding", "version"), BINDINGS)
def test_scram_channel_binding_selects_type(
    *, world: World, backend: str, style: str, binding: str, version: str
) -> None:
    skip_without(backend, binding)
    with world.server(version) as server:
        config = config_from_string(world, server.port, f"scram_channel_binding={binding}", tls_backend=backend)
        with connected(config, style) as session:
            assert session.security.channel_binding_type == binding
    assert server.logins == [ScramLogin("app", PLUS, "p", binding, version)]


def test_empty_scram_channel_binding_disables_binding(world: World, backend: str, style: str) -> None:
    with world.server() as server:
        config = config_from_string(world, server.port, "scram_channel_binding=''", tls_backend=backend)
        with connected(config, style) as session:
            assert session.security.auth_method == "scram-sha-256"
    assert [(login.mechanism, login.gs2_flag) for login in server.logins] == [(PLAIN, "n")]


@pytest.mark.parametrize("name", ["tls-server-endpoint", "not-exists", "tls-unique-for-telnet", "TLS-UNIQUE"])
def test_unknown_scram_channel_binding_is_refused_before_connecting(world: World, name: str) -> None:
    with world.server() as server:
        with pytest.raises(ConfigError, match="invalid scram_channel_binding value") as caught:
            config_from_string(world, server.port, f"scram_channel_binding={name}")
        assert name in str(caught.value)
    assert server.connections == 0


@pytest.mark.parametrize(("binding", "version"), [(UNIQUE, "TLSv1.3"), (EXPORTER, "TLSv1.2")])
def test_scram_channel_binding_without_type_in_tls_version_fails(
    *, world: World, backend: str, style: str, binding: str, version: str
) -> None:
    with world.server(version) as server:
        config = config_from_string(world, server.port, f"scram_channel_binding={binding}", tls_backend=backend)
        with pytest.raises(ChannelBindingUnsupported) as caught, connected(config, style):
            pass
        assert DEFINED_FOR[binding][1] in str(caught.value)
    assert (server.logins, server.refusals, server.errors) == ([], [], [])


def test_scram_channel_binding_without_type_in_backend_fails(world: World, style: str) -> None:
    with world.server("TLSv1.3") as server:
        config = config_from_string(world, server.port, f"scram_channel_binding={EXPORTER}", tls_backend="stdlib")
        with pytest.raises(ChannelBindingUnsupported, match="does not export"), connected(config, style):
            pass
    assert server.logins == []


@pytest.mark.parametrize("binding", CHANNEL_BINDING_TYPES)
def test_scram_channel_binding_not_accepted_by_server_fails(
    world: World, backend: str, style: str, binding: str
) -> None:
    skip_without(backend, binding)
    version = DEFINED_FOR[binding][0][-1]
    others = [END_POINT] if binding != END_POINT else [UNIQUE, EXPORTER]
    if EXPORTER in others:
        pytest.importorskip("OpenSSL", reason="the server needs pyOpenSSL for tls-exporter")
    with world.server(version, channel_bindings=others) as server:
        config = config_from_string(world, server.port, f"scram_channel_binding={binding}", tls_backend=backend)
        with (
            pytest.raises(ServerError, match="unsupported SCRAM channel-binding type") as caught,
            connected(config, style),
        ):
            pass
    assert caught.value.code == "08P01"
    assert server.logins == []


@pytest.mark.parametrize("binding", [UNIQUE, EXPORTER])
def test_scram_channel_binding_not_accepted_by_postgresql_fails(
    tls_server: PostgresServer, backend: str, style: str, binding: str
) -> None:
    if binding not in get_backend(backend).capabilities.channel_bindings:
        pytest.skip(f"{backend} does not provide {binding}")
    bound = "ssl_max_protocol_version=TLSv1.2" if binding == UNIQUE else ""
    string = (
        f"host=localhost port={tls_server.port} user=scram_role dbname=postgres sslmode=verify-full "
        f"sslrootcert='{tls_server.root_cert_path}' scram_channel_binding={binding} {bound}"
    )
    config = Config.from_conninfo(string, environ={}, password=PASSWORD, tls_backend=backend)
    text = f'unsupported SCRAM channel-binding type "{binding}"'
    with pytest.raises(ServerError, match=text), connected(config, style):
        pass


def test_scram_channel_binding_requires_offer_of_server(world: World, backend: str, style: str) -> None:
    """Development versions of PostgreSQL 11 continued without binding."""
    with world.server(mechanisms=[PLAIN]) as server:
        config = config_from_string(world, server.port, f"scram_channel_binding={END_POINT}", tls_backend=backend)
        with pytest.raises(AuthError, match="server did not offer an authentication method"), connected(config, style):
            pass
        with connected(config_from_string(world, server.port, "", tls_backend=backend), style) as session:
            assert session.security.gs2_flag == "y"
    assert [login.gs2_flag for login in server.logins] == ["y"]


@pytest.mark.parametrize("where", ["host=/run/s", "host=h sslmode=disable", "host=h,/run/s", "host=h tls_mode=disable"])
def test_scram_channel_binding_without_tls_is_ignored(where: str) -> None:
    config = Config.from_conninfo(f"{where} user=u scram_channel_binding=tls-unique", environ={})
    assert (config.channel_binding.value, config.channel_binding_type) == ("prefer", UNIQUE)


@pytest.mark.parametrize("policy", ["prefer", "disable", "require"])
def test_channel_binding_takes_precedence_over_scram_channel_binding(policy: str) -> None:
    text = f"host=h user=u channel_binding={policy} scram_channel_binding=tls-exporter"
    config = Config.from_conninfo(text, environ={})
    assert (config.channel_binding.value, config.channel_binding_type) == (policy, EXPORTER)
