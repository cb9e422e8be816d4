"""Hostnames with several addresses: each is tried, within one deadline."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import Config, IoError, TimeoutError
from babar_tls.testing import ScriptedServer
from babar_tls.testing._full_queue import full_queue

from .scripts import connect, log_in, receive_until_closed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing import ScriptedPeer, ServerCertificate

Info = tuple[int, int, int, str, tuple[Any, ...]]


def info(address: str, port: int) -> Info:
    return socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Info]], None]:
    """Return a function that sets the addresses of all hostnames."""

    def set_addresses(answer: list[Info]) -> None:
        # asyncio's getaddrinfo calls this function too, in a thread.
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answer)

    return set_addresses


@pytest.fixture
def silent_address() -> Iterator[Info]:
    """Return an address that does not answer."""
    with full_queue() as address:
        yield info(*address)


@pytest.fixture
def refusing_address() -> Info:
    """Return an address without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return info(*sock.getsockname())


@pytest.fixture
def server(certificate: ServerCertificate) -> Iterator[ScriptedServer]:
    def script(peer: ScriptedPeer) -> None:
        log_in(peer, certificate.der)
        receive_until_closed(peer)

    with ScriptedServer(script, tls=certificate) as running:
        yield running


def test_next_address_is_tried_after_a_refusal(
    config: Config, style: str, resolve: Callable[[list[Info]], None], refusing_address: Info, server: ScriptedServer
) -> None:
    good = info(server.host, server.port)
    for answer in ([refusing_address, good], [refusing_address, refusing_address, good], [good, refusing_address]):
        resolve(answer)
        connect(config.replace(host="localhost", port=server.port), style)
    assert server.connections == 3
    assert server.errors == []


def test_silent_address_leaves_time_for_the_next(
    config: Config, style: str, resolve: Callable[[list[Info]], None], silent_address: Info, server: ScriptedServer
) -> None:
    resolve([silent_address, info(server.host, server.port)])
    connect(config.replace(host="localhost", port=server.port, connect_timeout=4), style)
    assert server.connections == 1


def test_refusal_by_all_addresses_is_an_error_with_errno(
    config: Config, style: str, resolve: Callable[[list[Info]], None], refusing_address: Info
) -> None:
    resolve([refusing_address, refusing_address])
    with pytest.raises(IoError, match="Connection refused") as caught:
        connect(config.replace(host="localhost", port=refusing_address[4][1]), style)
    assert caught.value.errno
    assert 'server at "localhost" (127.0.0.1)' in str(caught.value)


def test_deadline_covers_all_silent_addresses(
    config: Config, style: str, resolve: Callable[[list[Info]], None], silent_address: Info
) -> None:
    resolve([silent_address] * 3)
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
def test_failed_lookup_has_the_text_of_libpq(
    config: Config, style: str, outcome: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_options: Any) -> None:
        raise outcome

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(IoError, match=r'could not translate host name "db[.]invalid" to address') as caught:
        connect(config.replace(host="db.invalid"), style)
    assert caught.value.remedy


def test_deadline_covers_the_lookup_of_a_blocking_connect(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answered.wait(30) or [])
    with pytest.raises(TimeoutError, match=r"timeout expired \(looking up the host name\)"):
        connect(config.replace(host="db.invalid", connect_timeout=0.1), "blocking")
    answered.set()  # let the lookup thread end


def test_deadline_covers_the_lookup_of_an_asyncio_connect(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asyncio waits for its lookup thread when the loop is closed."""
    import threading

    from babar_tls import AsyncSession

    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answered.wait(30) or [])

    async def run() -> None:
        with pytest.raises(TimeoutError, match=r"timeout expired \(looking up the host name\)"):
            await AsyncSession.connect(config.replace(host="db.invalid", connect_timeout=0.1))
        answered.set()

    asyncio.run(run())


def test_empty_address_list_is_an_error(config: Config, style: str, resolve: Callable[[list[Info]], None]) -> None:
    resolve([])
    with pytest.raises(IoError):
        connect(config.replace(host="db.invalid", connect_timeout=5), style)


def test_handshake_has_the_time_that_address_attempts_left(
    config: Config, style: str, resolve: Callable[[list[Info]], None], silent_address: Info
) -> None:
    def script(peer: ScriptedPeer) -> None:
        receive_until_closed(peer)

    with ScriptedServer(script, timeout=60) as silent:
        resolve([silent_address, info(silent.host, silent.port)])
        started = time.monotonic()
        with pytest.raises(TimeoutError, match="SSLRequest"):
            connect(config.replace(host="localhost", connect_timeout=2), style)
        # With a deadline for each address this would take 3 s.
        assert time.monotonic() - started < 2.9


@pytest.mark.parametrize("zone", ["²", "1٣", "nosuchinterface"])
@pytest.mark.parametrize("name", ["host", "hostaddr"])
def test_zone_without_ascii_digits_is_an_interface_name(
    style: str, refusing_address: Info, name: str, zone: str
) -> None:
    """The operating system resolves interface names."""
    config = Config(**{"host": "::1", "port": refusing_address[4][1], "user": "u", name: f"::1%{zone}"})
    with pytest.raises(IoError):
        connect(config, style)
