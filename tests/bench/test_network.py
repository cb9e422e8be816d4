"""The proxies that count round trips and delay data."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.bench.network import CountingProxy, DelayProxy
from babar_tls.testing import PeerDisconnected, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing import ScriptedPeer

RTT = 0.04


def echo(peer: ScriptedPeer) -> None:
    """Send back all data."""
    try:
        while data := peer.receive():
            peer.send(data)
    except PeerDisconnected:
        pass


def delay(host: str, port: int) -> DelayProxy:
    """Return a proxy that delays by `RTT`."""
    return DelayProxy(host, port, RTT)


@contextmanager
def connected(proxy: Any, script: Callable[[ScriptedPeer], None] = echo) -> Iterator[tuple[socket.socket, Any]]:
    """Yield a connection to a server through a proxy, and the proxy."""
    with (
        ScriptedServer(script) as server,
        proxy(server.host, server.port) as between,
        socket.create_connection(("127.0.0.1", between.port)) as sock,
    ):
        yield sock, between
    assert server.errors == []


def ask(sock: socket.socket, question: bytes) -> bytes:
    """Send data, and return as many bytes."""
    sock.sendall(question)
    answer = b""
    while len(answer) < len(question):
        answer += sock.recv(65536)
    return answer


@pytest.mark.parametrize("proxy", [delay, CountingProxy])
def test_every_byte_arrives(proxy: Any) -> None:
    data = os.urandom(1 << 20)
    with connected(proxy) as (sock, _):
        pieces = [data[start : start + 100_000] for start in range(0, len(data), 100_000)]
        assert b"".join(ask(sock, piece) for piece in pieces) == data


def test_each_round_trip_is_delayed() -> None:
    """Three exchanges take three round trips; TCP's handshake is the fourth."""
    before = time.perf_counter()
    with connected(delay) as (sock, _):
        for _ in range(3):
            ask(sock, b"?")
        assert time.perf_counter() - before >= 4 * RTT


def test_chunks_of_one_flight_are_delayed_together() -> None:
    with connected(delay) as (sock, _):
        ask(sock, b"?")
        before = time.perf_counter()
        for _ in range(50):
            sock.sendall(b"?" * 100)
        received = 0
        while received < 5000:
            received += len(sock.recv(65536))
        assert RTT <= time.perf_counter() - before < 25 * RTT  # one by one they would take fifty


def test_round_trips_are_counted() -> None:
    """TCP's handshake is one, each answer is one more, and two chunks before an answer are one."""

    def script(peer: ScriptedPeer) -> None:
        peer.receive_exactly(1)
        peer.send(b"a")
        peer.receive_exactly(2)
        peer.send(b"b")

    with connected(CountingProxy, script) as (sock, between):
        assert ask(sock, b"?") == b"a"
        sock.sendall(b"?")
        assert ask(sock, b"?") == b"b"
        assert between.take() == 3
        assert between.take() == 0


def test_client_is_disconnected_if_the_server_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with CountingProxy("127.0.0.1", port) as between, socket.create_connection(("127.0.0.1", between.port)) as sock:
        assert sock.recv(1) == b""


def test_closing_the_proxy_closes_its_connections() -> None:
    with ScriptedServer(echo) as server:
        with delay(server.host, server.port) as between:
            sock = socket.create_connection(("127.0.0.1", between.port))
            ask(sock, b"?")
        with sock:
            assert sock.recv(1) == b""
