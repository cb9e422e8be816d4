"""After a connect, neither its error nor its session refers to the password of a callable, or to keys of this password.

The tracebacks of an error refer to frames. The error reports contain their local variables, and the frames lead to the
frames that called them, in the connecting thread too.
"""

from __future__ import annotations

import asyncio
import gc
import types
from typing import TYPE_CHECKING

import pytest
from hostile.scripts import PASSWORD

from babar_tls import AsyncSession, Config, Error, Host, InvalidPassword, Session
from babar_tls.net.blocking import BlockingConnection
from babar_tls.protocol.requests import Derive, ScramKeys

from . import lifetime
from .lifetime import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import ScramServer

no_leaks, no_leaked_threads = lifetime.no_leaks, lifetime.no_leaked_threads
certificate, root, config, honest = lifetime.certificate, lifetime.root, lifetime.config, lifetime.honest

WRONG = "wrong token of a service"


class Token:
    """A callable that returns a password, which the test does not hold."""

    def __init__(self, text: str) -> None:
        self._letters = list(text)

    def __call__(self) -> str:
        return "".join(self._letters)


class Later(Token):
    async def __call__(self) -> str:  # type: ignore[override]  # an awaitable is the other kind of result
        await asyncio.sleep(0)
        return super().__call__()


def referents(found: object) -> list[object]:
    """Return the objects that an object refers to, without modules, code and the running program."""
    if isinstance(found, types.FrameType):
        is_ours = str(found.f_globals.get("__name__")).partition(".")[0] == "babar_tls"
        return [found.f_back, *found.f_locals.values()] if is_ours else []
    if isinstance(found, types.FunctionType):
        return [found.__closure__, found.__defaults__, found.__kwdefaults__]
    if isinstance(found, type | types.ModuleType | types.CodeType | asyncio.AbstractEventLoop | Token):
        return []
    return gc.get_referents(found)


def held_by(start: object) -> Iterator[object]:
    """Yield the objects that an object refers to, directly or not."""
    seen: dict[int, object] = {}  # keeps them, so that no number is used twice
    pending = [start]
    while pending:
        current = pending.pop()
        if id(current) not in seen:
            seen[id(current)] = current
            yield current
            pending += referents(current)


def secrets_held_by(start: object, password: str) -> list[str]:
    """Return the types of the objects that contain the password or a derived key."""
    return [
        type(each).__name__
        for each in held_by(start)
        if isinstance(each, Derive | ScramKeys)
        or (isinstance(each, str | bytes) and each in (password, password.encode()))
    ]


async def connect_async(config: Config) -> Session | AsyncSession | Error:
    try:
        return await AsyncSession.connect(config)
    except Error as error:
        return error


def connect(config: Config) -> Session | Error:
    try:
        return Session.connect(config)
    except Error as error:
        return error


@pytest.mark.parametrize("attempts", [1, 3])
def test_error_of_a_blocking_connect_holds_no_secret(honest: ScramServer, config: Config, attempts: int) -> None:
    hosts = [Host("127.0.0.1", honest.port)] * attempts
    found = connect(config.replace(hosts=hosts, password=Token(WRONG)))
    assert isinstance(found, InvalidPassword)
    assert secrets_held_by(found, WRONG) == []


@pytest.mark.parametrize("token", [Token, Later])
def test_error_of_an_asyncio_connect_holds_no_secret(honest: ScramServer, config: Config, token: type[Token]) -> None:
    found: list[object] = []

    async def main() -> None:
        found.append(await connect_async(config.replace(port=honest.port, password=token(WRONG))))
        found.append(secrets_held_by(found[0], WRONG))  # the thread may still be running

    run(main)
    assert isinstance(found[0], InvalidPassword)
    assert found[1] == []
    assert secrets_held_by(found[0], WRONG) == []


def test_blocking_session_holds_no_secret(honest: ScramServer, config: Config) -> None:
    found = connect(config.replace(port=honest.port, password=Token(PASSWORD)))
    assert isinstance(found, Session)
    with found:
        assert secrets_held_by(found, PASSWORD) == []
    assert secrets_held_by(found, PASSWORD) == []


@pytest.mark.parametrize("token", [Token, Later])
def test_asyncio_session_holds_no_secret(honest: ScramServer, config: Config, token: type[Token]) -> None:
    async def main() -> None:
        found = await connect_async(config.replace(port=honest.port, password=token(PASSWORD)))
        assert isinstance(found, AsyncSession)
        async with found:
            assert secrets_held_by(found, PASSWORD) == []
        assert secrets_held_by(found, PASSWORD) == []

    run(main)


def test_closed_connection_holds_no_keys(honest: ScramServer, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of an attempt that failed."""
    closed: list[BlockingConnection] = []
    close = BlockingConnection.close

    def record(connection: BlockingConnection, farewell: bytes = b"") -> None:
        close(connection, farewell)
        closed.append(connection)

    monkeypatch.setattr(BlockingConnection, "close", record)
    assert isinstance(connect(config.replace(port=honest.port, password=WRONG)), InvalidPassword)
    assert closed
    assert not [each for each in held_by(closed) if isinstance(each, Derive | ScramKeys)]
