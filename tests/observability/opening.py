"""Connects in both styles."""

from __future__ import annotations

import asyncio

from babar_tls import AsyncSession, Config, Session

STYLES = ["blocking", "asyncio"]


def connect(config: Config, style: str) -> None:
    """Open a session and close it."""
    if style == "blocking":
        Session.connect(config).close()
    else:
        asyncio.run(connect_async(config))


async def connect_async(config: Config) -> None:
    """Open a session and close it."""
    session = await AsyncSession.connect(config)
    await session.close()
