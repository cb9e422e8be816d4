"""Paths of Unix-domain sockets that are too long for the system are refused with the text of libpq."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from babar_tls import AsyncSession, Config, Host, Session, Unreachable
from babar_tls.net.blocking import deliver_cancel
from babar_tls.net.deadline import Meter
from babar_tls.net.sockets import _SUN_PATH, unix_address
from babar_tls.protocol.requests import CancelRunning

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix-domain sockets")

LONGEST = _SUN_PATH - 1
REST = len("/.s.PGSQL.5432")


def directory(start: str, length: int, filler: str = "a") -> str:
    """Return a host whose socket path has this number of bytes."""
    count, rest = divmod(length - REST - len(start.encode()), len(filler.encode()))
    return start + filler * count + "b" * rest


def connect(config: Config, style: str) -> None:
    if style == "blocking":
        Session.connect(config)
    else:
        asyncio.run(AsyncSession.connect(config))


TOO_LONG = [
    directory("/", LONGEST + 1),
    directory("@", LONGEST + 1),
    directory("/", LONGEST + 1, "é"),
    directory("/", LONGEST + 1, "\U0001f418"),
    "/" + "\udcff" * LONGEST,
    "/" + "a" * 100_000,
    "@" + "a" * 100_000,
]


@pytest.mark.parametrize("style", ["blocking", "asyncio"])
@pytest.mark.parametrize("host", TOO_LONG, ids=range(len(TOO_LONG)))
def test_too_long_path_is_refused(host: str, style: str) -> None:
    with pytest.raises(Unreachable) as caught:
        connect(Config(host=host, user="u"), style)
    text = str(caught.value)
    assert 'Unix-domain socket path "' in text
    assert f'" is too long (maximum {LONGEST} bytes)' in text
    if len(host) < 1000 and "\udcff" not in host:
        assert f'"{host}/.s.PGSQL.5432"' in caught.value.message
        assert 'connection to server on socket "' in text
    assert len(text) < 10_000
    text.encode()
    assert "unix_socket_directories" in str(caught.value.remedy)


@pytest.mark.parametrize("host", TOO_LONG, ids=range(len(TOO_LONG)))
def test_cancel_request_to_a_too_long_path_is_refused(host: str) -> None:
    config = Config(host=host, user="u")
    request = CancelRunning(config, config.targets[0], 1, b"key", tls=False)
    with pytest.raises(Unreachable, match="too long"):
        deliver_cancel(request, Meter(10))


@pytest.mark.parametrize("style", ["blocking", "asyncio"])
def test_next_host_is_tried_after_a_too_long_path(style: str, tmp_path: Path) -> None:
    config = Config(hosts=[Host(directory("/", LONGEST + 1)), Host(str(tmp_path))], user="u")
    with pytest.raises(Unreachable) as caught:
        connect(config, style)
    assert ["too long" in attempt.message for attempt in caught.value.attempts] == [True, False]


@pytest.mark.parametrize("start", ["/", "@"])
@pytest.mark.parametrize("filler", ["a", "é"])
def test_longest_path_is_accepted(start: str, filler: str) -> None:
    unix_address(Host(directory(start, LONGEST, filler)))


@pytest.mark.skipif(_SUN_PATH != 108, reason="needs abstract sockets (Linux)")
def test_longest_abstract_name_can_be_connected_to() -> None:
    config = Config(host=directory("@", LONGEST), user="u", connect_timeout=10)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(config.targets[0].socket_path)
        listener.listen()

        def disconnect() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=disconnect)
        thread.start()
        with pytest.raises(OSError, match="closed the connection"):
            connect(config, "blocking")
        thread.join()
