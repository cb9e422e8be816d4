"""`SecureSocket`: what it accepts from a driver, and what it returns."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import Closed, IntegrationError, TimeoutError
from babar_tls.config.host import Host
from babar_tls.net.secure_socket import SecureSocket
from babar_tls.net.secure_stream import SecureStream

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTUP = bytes.fromhex("0000001200030000") + b"user\0app\0\0"
GREETING = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"


class Ends:
    """A secured socket without TLS, and the server's end of its connection."""

    def __init__(self, timeout: float | None = 20) -> None:
        ours, self.server = socket.socketpair()
        security: Any = SimpleNamespace()
        self.stream = SecureStream(
            socket=ours,
            tls=None,
            greeting=GREETING,
            security=security,
            host=Host(),
            params={},
            process_id=1,
            driver_key=b"1234",
            cancel_running=None,
        )
        self.client = SecureSocket(self.stream, timeout)


@pytest.fixture
def ends() -> Iterator[Ends]:
    pair = Ends()
    yield pair
    pair.client.close()
    pair.server.close()


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, len(STARTUP)])
def test_startup_message_may_arrive_in_parts(ends: Ends, size: int) -> None:
    for begin in range(0, len(STARTUP), size):
        ends.client.sendall(STARTUP[begin : begin + size])
    assert ends.client.recv(4) + ends.client.recv(100) == GREETING
    assert ends.client.has_greeted
    ends.client.sendall(b"query")
    assert ends.server.recv(100) == b"query"  # and not the StartupMessage


def test_startup_message_in_two_writes_and_a_flush(ends: Ends) -> None:
    with ends.client.makefile() as file:
        file.write(STARTUP[:4])
        file.write(STARTUP[4:])
        file.flush()
        assert file.read(len(GREETING)) == GREETING


@pytest.mark.parametrize(
    "first",
    [
        bytes.fromhex("0000000804d2162f"),  # SSLRequest
        bytes.fromhex("0000000804d21630"),  # GSSENCRequest
        bytes.fromhex("0000001004d2162e0000000100000002"),  # CancelRequest
        bytes.fromhex("0000000900030002") + b"\0",  # another version of the protocol
        bytes.fromhex("00ffffff00030000"),  # longer than the server accepts
        STARTUP + b"Q",
        b"Q\0\0\0\x0dselect 1\0",
    ],
)
def test_other_first_message_is_refused(ends: Ends, first: bytes) -> None:
    with pytest.raises(IntegrationError):
        ends.client.sendall(first)
    ends.client.close()
    assert ends.server.recv(100) == b""


def test_reading_before_the_startup_message_is_refused(ends: Ends) -> None:
    with pytest.raises(IntegrationError):
        ends.client.recv(1)


def test_timeout_is_permanent() -> None:
    ends = Ends(timeout=0.01)
    ends.client.sendall(STARTUP)
    ends.client.recv(100)
    with pytest.raises(TimeoutError):
        ends.client.recv(1)
    ends.server.sendall(b"late")
    with pytest.raises(TimeoutError):
        ends.client.recv(4)
    ends.client.sendall(b"discarded")
    ends.server.setblocking(False)
    with pytest.raises(BlockingIOError):
        ends.server.recv(100)
    ends.client.close()
    ends.server.close()


def test_end_of_stream(ends: Ends) -> None:
    ends.client.sendall(STARTUP)
    ends.client.recv(100)
    ends.server.close()
    assert ends.client.recv(100) == b""
    ends.client.sendall(b"X\0\0\0\x04")  # no error, although the server has closed the connection
    assert ends.client.recv(100) == b""


def test_closed_socket_raises_closed(ends: Ends) -> None:
    ends.client.sendall(STARTUP)
    ends.client.recv(100)
    ends.client.close()
    ends.client.close()
    with pytest.raises(Closed):
        ends.client.sendall(b"query")
    with pytest.raises(Closed):
        ends.client.recv(1)


def test_other_process_may_not_use_the_connection(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    ends.client.sendall(STARTUP)
    ends.client.recv(100)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    ends.client.sendall(b"X\0\0\0\x04")
    with pytest.raises(Exception, match="before a fork"):
        ends.client.recv(1)
    ends.client.close()
    assert ends.server.recv(100) == b""


def test_other_modes_are_refused(ends: Ends) -> None:
    with pytest.raises(IntegrationError, match="rb"):
        ends.client.makefile("rb")
