"""The requests from the protocol to the driver."""

from __future__ import annotations

import dataclasses

import pytest

from babar_tls.config.host import Host
from babar_tls.errors import Closed
from babar_tls.protocol.message_reader import MessageReader
from babar_tls.protocol.requests import Derive, Phase, ScramKeys, Send, fill, receive


@pytest.mark.parametrize(
    ("endpoint", "address", "text"),
    [
        (Host("db.example.com", 5432), None, 'server at "db.example.com", port 5432'),
        (Host("db.example.com", 5432), "192.0.2.7", 'server at "db.example.com" (192.0.2.7), port 5432'),
        (Host("db", 1, "192.0.2.7"), None, 'server at "db" (192.0.2.7), port 1'),
        (Host("192.0.2.7", 5432), "192.0.2.7", 'server at "192.0.2.7", port 5432'),
        (Host("/tmp", 5433), None, 'server on socket "/tmp/.s.PGSQL.5433"'),  # noqa: S108 - nothing is created there
    ],
)
def test_endpoint_is_described_as_in_libpq(endpoint: Host, address: str | None, text: str) -> None:
    assert endpoint.describe(address) == text


def test_socket_path_has_the_port() -> None:
    """An abstract name begins with a NUL."""
    assert Host("/run/postgresql", 5432).socket_path == "/run/postgresql/.s.PGSQL.5432"
    assert Host("@babar", 5432).socket_path == "\0babar/.s.PGSQL.5432"


def test_repr_has_no_secret() -> None:
    secret = b"s3cret"
    for value in (Send(secret, Phase.AUTH), Derive(secret, b"salt", 1), ScramKeys(secret, secret, secret)):
        assert "s3cret" not in repr(value)
        assert "s3cret" not in str(value)


def test_requests_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Derive(b"", b"", 1).iterations = 2


def test_receive_returns_bytes_or_raises_closed() -> None:
    exchange = receive(Phase.AUTH)
    assert next(exchange).phase is Phase.AUTH
    with pytest.raises(StopIteration) as stop:
        exchange.send(b"x")
    assert stop.value.value == b"x"
    exchange = receive(Phase.AUTH)
    next(exchange)
    with pytest.raises(Closed, match="server closed the connection unexpectedly"):
        exchange.send(b"")


def test_fill_returns_after_bytes_or_raises_closed() -> None:
    inbox = MessageReader()
    exchange = fill(inbox, Phase.QUERY)
    assert next(exchange).inbox is inbox
    with pytest.raises(StopIteration):
        exchange.send(1)
    exchange = fill(inbox, Phase.QUERY)
    next(exchange)
    with pytest.raises(Closed, match="server closed the connection unexpectedly"):
        exchange.send(0)
