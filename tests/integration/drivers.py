"""One interface for blocking and asyncio sessions, so that a test is written once and runs with both."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Config, Session, available_backends

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Every backend that the environment has; the suite's own environment has all.
BACKENDS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(name not in available_backends(), reason=f"the {name} backend is not installed"),
    )
    for name in ("stdlib", "openssl", "rustls")
]
STYLES = ["blocking", "asyncio"]


class _Async:
    """An `AsyncSession` with blocking methods."""

    def __init__(self, loop: asyncio.AbstractEventLoop, session: AsyncSession) -> None:
        self._loop = loop
        self.inner = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def query(self, sql: str) -> list[tuple[str | None, ...]]:
        return self._loop.run_until_complete(self.inner.query(sql))

    def copy_to(self, sql: str) -> Iterator[bytes]:
        chunks = self.inner.copy_to(sql)

        async def step() -> bytes | None:
            async for chunk in chunks:
                return chunk
            return None

        while (chunk := self._loop.run_until_complete(step())) is not None:
            yield chunk

    def cancel(self) -> None:
        self._loop.run_until_complete(self.inner.cancel())

    def close(self) -> None:
        self._loop.run_until_complete(self.inner.close())


@contextmanager
def connected(config: Config, style: str) -> Iterator[Any]:
    """Connect in the given style, and close the session in the end."""
    if style == "blocking":
        with Session.connect(config) as session:
            yield session
        return
    loop = asyncio.new_event_loop()
    try:
        session = _Async(loop, loop.run_until_complete(AsyncSession.connect(config)))
        try:
            yield session
        finally:
            session.close()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
