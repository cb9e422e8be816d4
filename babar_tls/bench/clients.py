"""The clients that are compared: this library on every backend that is installed, its floors, and other drivers.

All are driven the same way, whatever their style: `Client.open`, `close` and `stream` return a result, or something
to await, and `Loop.run` makes the one of the other.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from ..aio import AsyncSession
from ..backends import backend_status
from ..session import Session
from .floor import Floor
from .peers import PEERS
from .spec import FLOOR, OURS, Client, Spec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from typing import Self

    from .places import Place
    from .record import Record


class Blocking(Client):
    """`Session`."""

    def __init__(self, spec: Spec, place: Place) -> None:
        super().__init__(spec, place)
        self._config = _config(spec, place)

    def open(self) -> Session:
        """As above."""
        return Session.connect(self._config)

    def stream(self, session: Session, sql: str) -> int:
        """As above."""
        return sum(map(len, session.copy_to(sql)))


class Async(Client):
    """`AsyncSession`."""

    def __init__(self, spec: Spec, place: Place) -> None:
        super().__init__(spec, place)
        self._config = _config(spec, place)

    def open(self) -> Awaitable[AsyncSession]:
        """As above."""
        return AsyncSession.connect(self._config)

    async def stream(self, session: AsyncSession, sql: str) -> int:
        """As above."""
        total = 0
        async for chunk in session.copy_to(sql):
            total += len(chunk)
        return total


def _config(spec: Spec, place: Place) -> Any:
    return place.config(
        tls_backend=spec.backend,
        tls_negotiation="direct" if spec.direct else "postgres",
        scram_key_cache=spec.key_cache is not False,
    )


def make(spec: Spec, place: Place) -> Client:
    """The client.

    Raises:
        ImportError: It is not installed.
        ValueError: It cannot be used like this, or not there.
    """
    if spec.driver == OURS:
        return (Async if spec.style == "asyncio" else Blocking)(spec, place)
    if spec.driver == FLOOR:
        return Floor(spec, place)
    return PEERS[spec.driver].make(spec, place)


def our_specs(record: Record, **fields: Any) -> list[Spec]:
    """This library on each engine that is installed; the others are missed."""
    specs = []
    for status in backend_status():
        if status.problem is not None:
            record.miss(f"{OURS} {status.name}", _with_remedy(status.problem.message, status.problem.remedy))
        else:
            specs.append(Spec(backend=status.name, **fields))
    return specs


def usable(specs: Iterable[Spec], place: Place, record: Record, loop: Loop, trial: str | None = None) -> list[Client]:
    """Those clients that can connect and stream `trial`; each does so once. The others are missed."""
    clients = []
    for spec in specs:
        try:
            client = make(spec, place)
            session = loop.run(client.open())
            try:
                if trial is not None:
                    loop.run(client.stream(session, trial))
            finally:
                loop.run(client.close(session))
            clients.append(client)
        except Exception as exc:  # whatever a driver raises, the others are to be measured
            miss(record, spec, exc)
    return clients


def miss(record: Record, spec: Spec, exc: Exception) -> None:
    """Remember why a client could not be measured."""
    message = getattr(exc, "message", None) or str(exc) or type(exc).__name__
    name = spec.driver if isinstance(exc, ImportError) and spec.driver != OURS else spec.name
    record.miss(name, _with_remedy(message, getattr(exc, "remedy", None)))


def _with_remedy(message: str, remedy: str | None) -> str:
    first = str(message).partition("\n")[0]
    return f"{first}: {remedy}" if remedy and remedy.startswith("pip install") else first


class Loop:
    """An event loop for the clients that need one; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self._loop.run_until_complete(asyncio.wait(tasks))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    def run(self, result: Any) -> Any:
        """What is to be awaited, awaited; anything else as it is."""
        return self._loop.run_until_complete(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result
