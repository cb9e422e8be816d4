"""The clients that are compared: this library with each installed backend, the floors, and other drivers."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from ..aio import AsyncSession
from ..backends import backend_status
from ..config import Config
from ..session import Session
from .child_process import run_job
from .client_spec import FLOOR, OURS, STYLES, Client, Spec
from .floor import Floor
from .peers import PEERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from typing import Self

    from .child_process import Job
    from .document import DocumentBuilder


class _OurClient(Client):
    def __init__(self, spec: Spec, config: Config) -> None:
        config = config.replace(
            tls_backend=spec.backend or "stdlib",
            tls_negotiation="direct" if spec.direct else "postgres",
            scram_key_cache=spec.key_cache is not False,
        )
        super().__init__(spec, config)


class _Blocking(_OurClient):
    def open(self) -> Session:
        return Session.connect(self.config)

    def stream(self, session: Session, sql: str) -> int:
        return sum(map(len, session.copy_to(sql)))


class _Async(_OurClient):
    def open(self) -> Awaitable[AsyncSession]:
        return AsyncSession.connect(self.config)

    async def stream(self, session: AsyncSession, sql: str) -> int:
        total = 0
        async for chunk in session.copy_to(sql):
            total += len(chunk)
        return total


def make(spec: Spec, config: Config) -> Client:
    """Return the client for this server.

    Raises:
        ImportError: The driver is not installed.
        ValueError: The driver does not support these settings.
    """
    if spec.driver == OURS:
        return (_Async if spec.style == "asyncio" else _Blocking)(spec, config)
    if spec.driver == FLOOR:
        return Floor(spec, config)
    return PEERS[spec.driver].make(spec, config)


def make_in_child(spec: dict[str, Any], conninfo: str) -> Client:
    """Return the client in a child process, from what `child_arguments` returned."""
    return make(Spec(**spec), Config.from_conninfo(conninfo))


def child_arguments(spec: Spec, config: Config) -> dict[str, Any]:
    """Return the arguments of `make_in_child` in JSON's types. They contain the password: do not print them."""
    return {"spec": spec.as_dict(), "conninfo": config.to_conninfo()}


def our_specs(document: DocumentBuilder, styles: Sequence[str] = STYLES, **fields: Any) -> list[Spec]:
    """Return this library with each installed backend, and add the other backends to the missing ones."""
    found = []
    for status in backend_status():
        if status.problem is None:
            found.append(status.name)
        else:
            document.add_missing(f"{OURS} {status.name}", status.problem)
    return [Spec(backend=name, style=style, **fields) for style in styles for name in found]


def usable_specs(specs: Iterable[Spec], config: Config, document: DocumentBuilder) -> list[Spec]:
    """Return the clients that can connect, and add the others to the missing ones."""
    with Loop() as loop:
        return [client.spec for client in usable(specs, config, document, loop)]


def run_client_job(job: Job, spec: Spec, config: Config, **arguments: Any) -> dict[str, Any]:
    """Run a job that creates its client with `make_in_child`, and return its result."""
    return run_job(job, **child_arguments(spec, config), **arguments)


def usable(
    specs: Iterable[Spec], config: Config, document: DocumentBuilder, loop: Loop, trial: str | None = None
) -> list[Client]:
    """Return the clients that can connect and stream `trial`, and add the others to the missing ones."""
    clients = []
    for spec in specs:
        try:
            client = make(spec, config)
            session = loop.run(client.open())
            try:
                if trial is not None:
                    loop.run(client.stream(session, trial))
            finally:
                loop.run(client.close(session))
            clients.append(client)
        except Exception as exc:  # each driver has its own exceptions, and the other clients must be measured
            add_missing(document, spec, exc)
    return clients


def add_missing(document: DocumentBuilder, spec: Spec, exc: Exception) -> None:
    """Add a client that cannot be measured to the missing ones."""
    name = spec.driver if isinstance(exc, ImportError) and spec.driver != OURS else spec.name
    document.add_missing(name, exc)


class Loop:
    """An event loop for the clients that need one; a context manager.

    Args:
        new_event_loop: Called to create the event loop, if it is not that of asyncio.
    """

    def __init__(self, new_event_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        self._runner = asyncio.Runner(loop_factory=new_event_loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def connect_and_close(self, client: Client) -> None:
        """Connect, and close the session."""
        self.run(client.close(self.run(client.open())))

    def run(self, result: Any) -> Any:
        """Return the result of an awaitable, or any other value unchanged."""
        return self._runner.run(_await(result)) if inspect.isawaitable(result) else result


async def _await(result: Awaitable[Any]) -> Any:
    return await result
