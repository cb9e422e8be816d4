"""The number of round trips and system calls of a connect, counted and not timed."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import Config, Session, TlsError
from babar_tls.backends import get_backend, offer_of
from babar_tls.net import transport
from babar_tls.tls.algorithms import is_post_quantum
from babar_tls.tls.key_share_cache import key_share_cache

from .conftest import PASSWORD, major_version
from .drivers import BACKENDS, STYLES, connected

pytest.importorskip("cryptography")

from babar_tls.testing import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

#: TCP; SSLRequest; TLS 1.3; StartupMessage with client-first; client-final.
FEWEST = {"postgres": 5, "direct": 4}


@pytest.fixture(autouse=True)
def empty_key_share_cache() -> None:
    """Clear the cache of key-exchange groups."""
    key_share_cache.clear()


class Relay:
    """A proxy that counts the flights of each client: what it sends between two answers of the server."""

    def __init__(self, port: int) -> None:
        self.flights: list[int] = []
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", self._port)) as server:
                self.flights.append(1)  # TCP's handshake
                self._relay(client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answered = True
        answering = threading.Thread(target=self._answers, args=(server, client), daemon=True)
        answering.start()
        try:
            while data := client.recv(1 << 16):
                self.flights[-1] += self._answered
                self._answered = False
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the server has gone first
        answering.join(10)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(1 << 16):
                self._answered = True
                client.sendall(data)
        except OSError:
            pass  # the client has closed the connection


def bound(server: PostgresServer, backend: str, **changes: Any) -> Config:
    """Return a configuration with full verification, SCRAM and required binding."""
    config = server.config(user="scram_role", password=PASSWORD, tls_backend=backend, channel_binding="require")
    return config.replace(**changes)


def first_costs_more(backend: str, server: PostgresServer) -> bool:
    """Return True if the first key share is of a group that the server does not accept: 17 accepts only one."""
    if major_version(server) >= 18:
        return False
    offer = offer_of(get_backend(backend))
    assert offer is not None
    return any(map(is_post_quantum, offer.groups))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("negotiation", FEWEST)
def test_connect_needs_the_fewest_round_trips(
    tls_server: PostgresServer, backend: str, style: str, negotiation: str
) -> None:
    """Four with direct TLS and five without; from the second connect if the backend has to learn the group.

    The report has the number that a relay counts.
    """
    seen = []
    with Relay(tls_server.port) as relay:
        config = bound(tls_server, backend, tls_negotiation=negotiation)
        config = config.replace(host="localhost", hostaddr="127.0.0.1", port=relay.port)
        for _ in range(3):
            with connected(config, style) as session:
                seen.append(session.security.round_trips)
                assert relay.flights[-1] == seen[-1]
    learns = get_backend(backend).capabilities.selects_groups != "no"
    first = FEWEST[negotiation] + first_costs_more(backend, tls_server)
    assert seen == ([first, FEWEST[negotiation], FEWEST[negotiation]] if learns else [first] * 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_connect_without_pipelining_needs_one_more_round_trip(tls_server: PostgresServer, backend: str) -> None:
    """So does a configuration that leaves the server a choice of the authentication method."""
    for _ in range(2):
        for changes in ({"pipelining": False}, {"channel_binding": "prefer"}):
            with Session.connect(bound(tls_server, backend, **changes)) as session:
                last = session.security.round_trips
    learns = get_backend(backend).capabilities.selects_groups != "no"
    assert last == FEWEST["postgres"] + 1 + (first_costs_more(backend, tls_server) and not learns)


@pytest.fixture(scope="module")
def p384_server() -> Iterator[PostgresServer]:
    """Start a server that accepts only P-384."""
    with PostgresServer(roles={"scram_role": PASSWORD}, settings={"ssl_ecdh_curve": "secp384r1"}) as server:
        yield server


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("negotiation", FEWEST)
def test_declined_group_leads_to_a_connection_that_offers_all(
    p384_server: PostgresServer, backend: str, style: str, negotiation: str
) -> None:
    """Only the first connect needs it; the next ones begin with the group of the server."""
    groups, trips = [], []
    for _ in range(3):
        with connected(bound(p384_server, backend, tls_negotiation=negotiation), style) as session:
            groups.append(session.security.group)
            trips.append(session.security.round_trips)
    assert groups == ["secp384r1"] * 3
    if get_backend(backend).capabilities.selects_groups != "no":
        assert trips[1] <= trips[0]
        assert trips[2] == FEWEST[negotiation]
    assert trips[0] > FEWEST[negotiation]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", STYLES)
def test_named_groups_are_never_extended(p384_server: PostgresServer, backend: str, style: str) -> None:
    """A connect that fails with them offers no others."""
    if get_backend(backend).capabilities.selects_groups == "no":
        pytest.skip("this backend cannot choose key-exchange groups")
    with (
        pytest.raises(TlsError, match="alert"),
        connected(bound(p384_server, backend, tls_groups="secp256r1"), style),
    ):
        pass
    with connected(bound(p384_server, backend, tls_groups="P-384"), style) as session:
        assert session.security.group == "secp384r1"


class CountingSocket(socket.socket):
    """A socket that counts its calls."""

    calls: list[str]


def _counted(name: str) -> Any:
    original = getattr(socket.socket, name)

    def call(self: CountingSocket, *arguments: Any) -> Any:
        CountingSocket.calls.append(name)
        return original(self, *arguments)

    return call


for _name in ("connect", "send", "sendall", "recv", "recv_into", "setsockopt", "settimeout", "shutdown", "close"):
    setattr(CountingSocket, _name, _counted(_name))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("negotiation", FEWEST)
def test_connect_needs_the_fewest_socket_calls(
    tls_server: PostgresServer, backend: str, negotiation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write for each flight, one read for each answer of one record; options are set once."""
    config = bound(tls_server, backend, tls_negotiation=negotiation)
    for _ in range(2):
        Session.connect(config).close()
    monkeypatch.setattr(transport.socket, "socket", CountingSocket)
    CountingSocket.calls = []
    session = Session.connect(config)
    connecting, CountingSocket.calls = CountingSocket.calls, []
    flights = session.security.round_trips - 1
    assert connecting.count("connect") == 1
    assert connecting.count("sendall") + connecting.count("send") == flights
    # One more read if the server's flight has several records that have not all arrived.
    reads = connecting.count("recv") + connecting.count("recv_into")
    assert flights <= reads <= flights + 2
    assert connecting.count("setsockopt") == 2  # no delay, keepalive
    assert connecting.count("settimeout") <= 2  # once, and again only if little time is left
    for _ in range(3):
        session.query("select 1")
    # The limits on reading end, which takes one call.
    assert [call for call in CountingSocket.calls if call != "recv_into"] == ["settimeout", *["sendall"] * 3]
    CountingSocket.calls = []
    session.close()
    assert [call for call in CountingSocket.calls if call in ("send", "shutdown", "close")] == ["send", "close"]
