"""A name with several addresses: the next is tried when one refuses, and a silent one leaves time for it."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import Config, IoError, TimeoutError
from babar_tls.testing import ScriptedServer

from .scripts import connect, log_in, until_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing import ScriptedPeer, ServerCertificate

Info = tuple[int, int, int, str, tuple[Any, ...]]


def info(address: str, port: int) -> Info:
    return socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Info]], None]:
    """Make every name mean these addresses."""

    def become(answer: list[Info]) -> None:
        # The loop's own look-up calls this one too, in a thread.
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answer)

    return become


@pytest.fixture
def blackhole() -> Iterator[Info]:
    """An address that does not answer: a listener whose queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.2", 0))
    listener.listen(0)
    fillers = []
    try:
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        yield info(*listener.getsockname())
    finally:
        for sock in (*fillers, listener):
            sock.close()


@pytest.fixture
def refusing() -> Info:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return info(*sock.getsockname())


@pytest.fixture
def server(certificate: ServerCertificate) -> Iterator[ScriptedServer]:
    def script(peer: ScriptedPeer) -> None:
        log_in(peer, certificate.der)
        until_gone(peer)

    with ScriptedServer(script, tls=certificate) as running:
        yield running


def test_first_refuses(
    config: Config, style: str, resolve: Callable[[list[Info]], None], refusing: Info, server: ScriptedServer
) -> None:
    """An address that refuses is passed over, wherever it stands."""
    good = info(server.host, server.port)
    for answer in ([refusing, good], [refusing, refusing, good], [good, refusing]):
        resolve(answer)
        connect(config.replace(host="localhost", port=server.port), style)
    assert server.connections == 3
    assert server.errors == []


def test_first_is_silent(
    config: Config, style: str, resolve: Callable[[list[Info]], None], blackhole: Info, server: ScriptedServer
) -> None:
    """An address that swallows packets has its share of the time, and the next one has the rest."""
    resolve([blackhole, info(server.host, server.port)])
    connect(config.replace(host="localhost", port=server.port, connect_timeout=4), style)
    assert server.connections == 1


def test_all_refuse(config: Config, style: str, resolve: Callable[[list[Info]], None], refusing: Info) -> None:
    """Where every address refuses, the error is the system's, with its number."""
    resolve([refusing, refusing])
    with pytest.raises(IoError, match="Connection refused") as caught:
        connect(config.replace(host="localhost", port=refusing[4][1]), style)
    assert caught.value.errno
    assert 'server at "localhost" (127.0.0.1)' in str(caught.value)


def test_all_silent(config: Config, style: str, resolve: Callable[[list[Info]], None], blackhole: Info) -> None:
    """Where no address answers, the deadline counts for all of them together."""
    resolve([blackhole] * 3)
    with pytest.raises(TimeoutError, match=r"timeout expired \(opening the connection\)"):
        connect(config.replace(host="localhost", connect_timeout=0.5), style)


@pytest.mark.parametrize(
    "outcome",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        UnicodeError("label too long"),
        OSError(5, "Input/output error"),
    ],
)
def test_no_such_name(config: Config, style: str, outcome: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that cannot be looked up is an `IoError` in libpq's words."""

    def fail(*_args: Any, **_options: Any) -> None:
        raise outcome

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(IoError, match=r'could not translate host name "db[.]invalid" to address') as caught:
        connect(config.replace(host="db.invalid"), style)
    assert caught.value.remedy


def test_slow_name_server(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that does not answer cannot hold up a blocking connect beyond its deadline."""
    import threading

    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answered.wait(30) or [])
    with pytest.raises(TimeoutError, match=r"timeout expired \(looking up the host name\)"):
        connect(config.replace(host="db.invalid", connect_timeout=0.1), "blocking")
    answered.set()  # the thread that was left behind ends with its answer


def test_slow_name_server_asyncio(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor can it hold up an asyncio connect; the loop's own thread is asyncio's to wait for."""
    import threading

    from babar_tls import AsyncSession

    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answered.wait(30) or [])

    async def run() -> None:
        with pytest.raises(TimeoutError, match=r"timeout expired \(looking up the host name\)"):
            await AsyncSession.connect(config.replace(host="db.invalid", connect_timeout=0.1))
        answered.set()

    asyncio.run(run())


def test_no_addresses(config: Config, style: str, resolve: Callable[[list[Info]], None]) -> None:
    """A name without any address is an error too, and no crash."""
    resolve([])
    with pytest.raises(IoError):
        connect(config.replace(host="db.invalid", connect_timeout=5), style)


def test_deadline_is_shared_with_what_follows(
    config: Config, style: str, resolve: Callable[[list[Info]], None], blackhole: Info
) -> None:
    """Time spent on a silent address is not given back for the handshake with the next one."""

    def script(peer: ScriptedPeer) -> None:
        until_gone(peer)

    with ScriptedServer(script, timeout=60) as silent:
        resolve([blackhole, info(silent.host, silent.port)])
        started = time.monotonic()
        with pytest.raises(TimeoutError, match="SSLRequest"):
            connect(config.replace(host="localhost", connect_timeout=2), style)
        # Not a promise of speed: were each address given a deadline of its own, this would be 3 s.
        assert time.monotonic() - started < 2.9


@pytest.mark.parametrize("zone", ["²", "1٣", "nosuchinterface"])
@pytest.mark.parametrize("name", ["host", "hostaddr"])
def test_a_zone_that_is_no_number(style: str, refusing: Info, name: str, zone: str) -> None:
    """A zone is a number in ASCII digits; anything else is an interface's name, and the system's to know."""
    config = Config(**{"host": "::1", "port": refusing[4][1], "user": "u", name: f"::1%{zone}"})
    with pytest.raises(IoError):
        connect(config, style)
