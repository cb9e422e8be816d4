"""The networks in between pass on every byte, take their time, and count what they see."""

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
    """Says everything back."""
    try:
        while data := peer.receive():
            peer.send(data)
    except PeerDisconnected:
        pass


def delay(host: str, port: int) -> DelayProxy:
    """A network that takes `RTT`."""
    return DelayProxy(host, port, RTT)


@contextmanager
def connected(proxy: Any, script: Callable[[ScriptedPeer], None] = echo) -> Iterator[tuple[socket.socket, Any]]:
    """A connection to a server through a proxy, and the proxy."""
    with (
        ScriptedServer(script) as server,
        proxy(server.host, server.port) as between,
        socket.create_connection(("127.0.0.1", between.port)) as sock,
    ):
        yield sock, between
    assert server.errors == []


def ask(sock: socket.socket, question: bytes) -> bytes:
    """Sends, and reads as much."""
    sock.sendall(question)
    answer = b""
    while len(answer) < len(question):
        answer += sock.recv(65536)
    return answer


@pytest.mark.parametrize("proxy", [delay, CountingProxy])
def test_every_byte_arrives(proxy: Any) -> None:
    """A megabyte goes there and back as it was, in pieces."""
    data = os.urandom(1 << 20)
    with connected(proxy) as (sock, _):
        pieces = [data[start : start + 100_000] for start in range(0, len(data), 100_000)]
        assert b"".join(ask(sock, piece) for piece in pieces) == data


def test_every_round_trip_takes_its_time() -> None:
    """Three exchanges take three round trips, and TCP's own is the fourth."""
    before = time.perf_counter()
    with connected(delay) as (sock, _):
        for _ in range(3):
            ask(sock, b"?")
        assert time.perf_counter() - before >= 4 * RTT


def test_a_flight_is_one_delay() -> None:
    """Pieces that are on their way at once do not wait for one another: it is time that is lost, not throughput."""
    with connected(delay) as (sock, _):
        ask(sock, b"?")
        before = time.perf_counter()
        for _ in range(50):
            sock.sendall(b"?" * 100)
        received = 0
        while received < 5000:
            received += len(sock.recv(65536))
        assert RTT <= time.perf_counter() - before < 25 * RTT  # one after the other would be fifty


def test_round_trips_are_counted() -> None:
    """TCP is one, every answer to something sent is another, and two flights before an answer are one."""

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


def test_nobody_at_the_other_end() -> None:
    """Where there is no server, the client is hung up on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with CountingProxy("127.0.0.1", port) as between, socket.create_connection(("127.0.0.1", between.port)) as sock:
        assert sock.recv(1) == b""


def test_who_stays_is_hung_up_on() -> None:
    """Closing a proxy ends connections that are open."""
    with ScriptedServer(echo) as server:
        with delay(server.host, server.port) as between:
            sock = socket.create_connection(("127.0.0.1", between.port))
            ask(sock, b"?")
        with sock:
            assert sock.recv(1) == b""
