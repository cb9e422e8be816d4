"""A server that is slow, but not too slow for a connect, is not diagnosed as silent; and many addresses are tried."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from babar_tls.doctor import Cause, Diagnosis, diagnose
from babar_tls.testing import PeerDisconnected, ScriptedServer

from .test_bounds import CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer

_TIMEOUT = 1.2  # seconds
_DELAY = 0.7  # seconds, more than half of the limit
_LOGIN = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\1\0\0\0\2Z\0\0\0\5I"


def log_in(peer: ScriptedPeer, *, before_answer: float = 0, before_tls: float = 0) -> None:
    """Accept TLS and every login."""
    try:
        if not peer.receive():
            return
        time.sleep(before_answer)
        peer.send(b"S")
        time.sleep(before_tls)
        peer.start_tls(CERTIFICATE)
        if peer.receive():
            peer.send(_LOGIN)
            peer.receive()  # a query, or the end
    except (PeerDisconnected, OSError):
        pass


def run(script: Callable[[ScriptedPeer], None], host: str = "127.0.0.1", **overrides: object) -> Diagnosis:
    with ScriptedServer(script) as server:
        conninfo = f"host={host} port={server.port} user=app sslmode=require"
        return diagnose(conninfo, overrides={"connect_timeout": _TIMEOUT, **overrides}, environ={})


def test_slow_answer_to_ssl_request_is_no_fault() -> None:
    assert run(lambda peer: log_in(peer, before_answer=_DELAY)).fault is None


def test_slow_handshake_is_no_fault() -> None:
    assert run(lambda peer: log_in(peer, before_tls=_DELAY)).fault is None


def test_address_after_the_first_sixteen_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port of the other addresses of the loopback network is closed, or has no listener."""
    real: Callable[..., object] = socket.getaddrinfo

    def look_up(host: str, port: int, *arguments: int, **named: int) -> object:
        if host != "db.example.com":
            return real(host, port, *arguments, **named)
        texts = [*(f"127.0.9.{number}" for number in range(1, 20)), "127.0.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in texts]

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    diagnosis = run(log_in, "db.example.com", connect_timeout=20.0)
    assert diagnosis.fault is None
    tcp = next(stage for stage in diagnosis.targets[0].stages if stage.key == "tcp")
    assert [each.cause for each in tcp.findings] == [Cause.SOME_ADDRESSES_FAIL]
    assert len(tcp.observations) == 17


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_limit_may_be_longer_than_the_system_allows(host: str) -> None:
    assert run(log_in, host, connect_timeout=1e300).fault is None
