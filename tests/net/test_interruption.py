"""An interruption ends the waits of a socket's owner and leaves the socket open."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from babar_tls.net.interruption import Interruption
from babar_tls.net.sockets import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("wait", ["recv", "poll", "connect"])
def test_interruption_ends_the_wait_of_the_owner(wait: str, pair: tuple[socket.socket, socket.socket]) -> None:
    interruption = Interruption()
    sock = pair[0]
    if wait == "connect":
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        fillers = []
        for _ in range(4):  # fills the queue of the listener, so that the next connect waits
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
    interruption.guard(sock)
    timer = threading.Timer(0.05, interruption.request)
    timer.start()
    started = time.monotonic()
    if wait == "recv":
        sock.settimeout(20)
        assert sock.recv(1) == b""
    else:
        assert wait_for(sock, write=wait == "connect", seconds=20)
    assert time.monotonic() - started < 10
    assert interruption.requested
    assert sock.fileno() >= 0
    timer.join()
    interruption.close(sock)
    assert sock.fileno() < 0
    interruption.request()  # has no effect
    if wait == "connect":
        for filler in fillers:
            filler.close()
        listener.close()


def test_function_is_called_even_after_the_request() -> None:
    interruption, calls = Interruption(), []
    with interruption.waking(lambda: calls.append("during")):
        interruption.request()
    with interruption.waking(lambda: calls.append("before")):
        pass
    interruption.request()
    assert calls == ["during", "before"]


def test_released_socket_is_not_interrupted(pair: tuple[socket.socket, socket.socket]) -> None:
    interruption = Interruption()
    interruption.guard(pair[0])
    interruption.release()
    interruption.request()
    pair[0].sendall(b"word")
    assert pair[1].recv(10) == b"word"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_does_not_shut_down_the_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    interruption = Interruption()
    interruption.guard(pair[0])
    assert not interruption.is_forked
    child = os.fork()
    if child == 0:
        interruption.request()
        os._exit(0 if interruption.is_forked and interruption.requested else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pair[0].sendall(b"word")
    assert pair[1].recv(10) == b"word"


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs SIGALRM")
def test_signal_handler_can_request_an_interruption_at_any_time(pair: tuple[socket.socket, socket.socket]) -> None:
    """The handler may run in a thread that holds the lock."""
    interruption = Interruption()
    previous = signal.signal(signal.SIGALRM, lambda *_: interruption.request())
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            interruption.guard(pair[0])
            with interruption.waking(lambda: None):
                pass
            interruption.release()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert interruption.requested
