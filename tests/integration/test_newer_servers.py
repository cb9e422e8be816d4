"""Features of PostgreSQL 16 to 18: `scram_iterations`, `ssl_groups`, OAuth, later protocol versions."""

from __future__ import annotations

import re
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import ChannelBindingError, Error, ProtocolError, Session, UnsupportedAuth
from babar_tls.backends import get_backend
from babar_tls.testing import PostgresServer, ScriptedServer
from babar_tls.tls.key_share_cache import key_share_cache

from .conftest import PASSWORD, require_version
from .drivers import BACKENDS, STYLES, connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import ScriptedPeer

OAUTH_HBA = ['host all token_role all oauth issuer="https://issuer.example" scope="openid"']
PROTOCOL_3_0, PROTOCOL_3_2, PROTOCOL_3_9 = 0x30000, 0x30002, 0x30009


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(roles={"app": PASSWORD, "token_role": None}) as running:
        yield running


# Key-exchange groups -------------------------------------------------------------------------------------------------


@pytest.fixture
def grouped(server: PostgresServer) -> Iterator[PostgresServer]:
    require_version(server, 18, "ssl_groups")
    yield server
    server.set_settings({"ssl_groups": None})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("ssl_groups", "expected"),
    [
        ("X25519", {"x25519"}),
        ("prime256v1", {"secp256r1"}),
        ("secp384r1", {"secp384r1"}),
        ("secp521r1:secp384r1", {"secp521r1", "secp384r1"}),
        ("X25519:prime256v1", {"x25519", "secp256r1"}),
    ],
)
def test_report_has_the_group_that_the_server_selected(
    grouped: PostgresServer, backend: str, style: str, ssl_groups: str, expected: set[str]
) -> None:
    grouped.set_settings({"ssl_groups": ssl_groups})
    for _ in range(2):  # the second connection offers a key share of the group that the first one selected
        with connected(grouped.config(tls_backend=backend, channel_binding="require"), style) as session:
            assert session.security.group in expected
            assert session.security.channel_bound


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", STYLES)
def test_group_of_a_hello_retry_request_is_reported(
    grouped: PostgresServer, monkeypatch: pytest.MonkeyPatch, backend: str, style: str
) -> None:
    """All groups are offered. The key share is of one that the server does not accept: one more round trip."""
    monkeypatch.setattr(key_share_cache, "parameters", lambda server: server.parameters)
    trips = {}
    for ssl_groups, group in (("X25519", "x25519"), ("secp384r1", "secp384r1")):
        grouped.set_settings({"ssl_groups": ssl_groups})
        with connected(grouped.config(tls_backend=backend, channel_binding="require"), style) as session:
            assert session.security.group == group
            trips[group] = session.security.round_trips
    assert trips["secp384r1"] == trips["x25519"] + 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_server_list_and_client_list_agree_on_a_common_group(grouped: PostgresServer, backend: str) -> None:
    if get_backend(backend).capabilities.selects_groups == "no":
        pytest.skip(f"the backend {backend} cannot choose key-exchange groups")
    grouped.set_settings({"ssl_groups": "X25519:secp384r1"})
    with Session.connect(grouped.config(tls_backend=backend, tls_groups="secp384r1")) as session:
        assert session.security.group == "secp384r1"


# SCRAM iterations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("iterations", [1, 100_000])
def test_report_has_the_iterations_of_the_role(server: PostgresServer, style: str, iterations: int) -> None:
    require_version(server, 16, "scram_iterations")
    role = f"iterations_{iterations}_{style}"
    server.sql(f"set scram_iterations = {iterations}; create role {role} login password '{PASSWORD}'")
    with connected(server.config(user=role, password=PASSWORD), style) as session:
        assert session.security.scram_iterations == iterations
        assert session.security.server_authenticated


# OAuth ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def oauth_server(server: PostgresServer) -> Iterator[PostgresServer]:
    require_version(server, 18, "OAuth")
    settings = {"oauth_validator_libraries": "validator"}  # a library that does not exist: no client gets that far
    hba = [*OAUTH_HBA, "host all all all scram-sha-256"]
    with PostgresServer(settings=settings, hba=hba, roles={"token_role": None, "app": PASSWORD}) as running:
        yield running


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({}, UnsupportedAuth, "none of the server's SASL authentication mechanisms are supported: OAUTHBEARER"),
        ({"require_auth": "oauth"}, UnsupportedAuth, "mechanisms are supported: OAUTHBEARER"),
        ({"require_auth": "!oauth"}, UnsupportedAuth, '"!oauth" failed: server requested OAUTHBEARER authentication'),
        (
            {"require_auth": "scram-sha-256"},
            UnsupportedAuth,
            '"scram-sha-256" failed: server requested OAUTHBEARER authentication',
        ),
        (
            {"require_auth": "scram-sha-256", "channel_binding": "disable"},  # SCRAM starts with the StartupMessage
            UnsupportedAuth,
            '"scram-sha-256" failed: server requested OAUTHBEARER authentication',
        ),
        ({"require_auth": "md5"}, UnsupportedAuth, '"md5" failed: server requested SASL authentication'),
        ({"channel_binding": "require"}, ChannelBindingError, "server did not offer an authentication method"),
    ],
)
def test_oauth_is_refused(  # noqa: PLR0917 - pytest passes them by name
    oauth_server: PostgresServer, backend: str, style: str, changes: dict[str, Any], kind: type[Error], text: str
) -> None:
    config = oauth_server.config(user="token_role", password=PASSWORD, tls_backend=backend, **changes)
    with pytest.raises(kind, match=re.escape(text)), connected(config, style):
        pass


def test_remedy_for_oauth_names_scram(oauth_server: PostgresServer) -> None:
    with pytest.raises(UnsupportedAuth) as caught:
        Session.connect(oauth_server.config(user="token_role", password=PASSWORD))
    assert "OAuth authentication, which this library does not support" in str(caught.value.remedy)
    assert "scram-sha-256 line for the role to pg_hba.conf" in str(caught.value.remedy)


def test_required_oauth_refuses_scram(oauth_server: PostgresServer) -> None:
    text = '"oauth" failed: server requested SCRAM-SHA-256-PLUS authentication'
    with pytest.raises(UnsupportedAuth, match=text):
        Session.connect(oauth_server.config(user="app", password=PASSWORD, require_auth="oauth"))
    with Session.connect(oauth_server.config(user="app", password=PASSWORD, require_auth="!oauth")) as session:
        assert session.security.auth_method == "scram-sha-256-plus"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("first", [True, False])
def test_scram_is_chosen_if_the_server_offers_oauth_too(server: PostgresServer, style: str, first: bool) -> None:
    """The list has OAUTHBEARER in front of or behind the SCRAM mechanisms; the SCRAM messages go to a real server."""

    def script(peer: ScriptedPeer) -> None:
        with socket.create_connection((server.host, server.port), timeout=10) as upstream:
            upstream.sendall(peer.receive_startup())
            header = _receive(upstream, 5)
            names = _receive(upstream, struct.unpack("!i", header[1:])[0] - 4)[4:-1]
            oauth = b"OAUTHBEARER\0"
            peer.send_message(b"R", struct.pack("!i", 10) + (oauth + names if first else names + oauth) + b"\0")
            for _ in range(2):
                kind, payload = peer.receive_message()
                upstream.sendall(kind + struct.pack("!i", len(payload) + 4) + payload)
                peer.send(upstream.recv(65536))
            peer.receive()

    with ScriptedServer(script) as between:
        config = server.config(port=between.port, user="app", password=PASSWORD, tls_mode="disable")
        with connected(config, style) as session:
            assert session.security.auth_method == "scram-sha-256"
        for required, text in (
            ("oauth", "server requested SCRAM-SHA-256 authentication"),
            ("md5", "server requested SASL"),
        ):
            with pytest.raises(UnsupportedAuth, match=text), connected(config.replace(require_auth=required), style):
                pass
    assert between.errors == []


# Protocol versions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("version", "options"),
    [(PROTOCOL_3_2, {"_pq_.unknown": "1"}), (PROTOCOL_3_9, {}), (PROTOCOL_3_0, {"_pq_.unknown": "1"})],
)
def test_negotiated_protocol_version_is_an_error(
    server: PostgresServer, style: str, version: int, options: dict[str, str]
) -> None:
    """A proxy changes the StartupMessage, and the reply is NegotiateProtocolVersion."""
    replies = []

    def script(peer: ScriptedPeer) -> None:
        startup = peer.receive_startup()
        body = startup[8:-1] + b"".join(f"{name}\0{value}\0".encode() for name, value in options.items()) + b"\0"
        with socket.create_connection((server.host, server.port), timeout=10) as upstream:
            upstream.sendall(struct.pack("!ii", len(body) + 8, version) + body)
            replies.append(upstream.recv(65536))
            peer.send(replies[0])
            peer.receive()

    with ScriptedServer(script) as between:
        config = server.config(port=between.port, user="app", password=PASSWORD, tls_mode="disable")
        with (
            pytest.raises(ProtocolError, match="received invalid protocol negotiation message: server") as caught,
            connected(config, style),
        ):
            pass
    assert replies[0][:1] == b"v"
    assert "proxy changes the StartupMessage" in str(caught.value.remedy)


def _receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        assert chunk
        data += chunk
    return data
