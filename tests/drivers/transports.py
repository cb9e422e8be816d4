"""A protocol that records what `SecureTransport` delivers, and connections that use it."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

from babar_tls import AsyncSession, SecureTransport

from .asyncpg_clients import resources, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import babar_tls

STARTUP = struct.pack("!ii", 9, 196608) + b"\0"
READY = b"Z\0\0\0\x05I"
TERMINATE = b"X\0\0\0\x04"


def query(sql: str) -> bytes:
    return b"Q" + struct.pack("!i", len(sql) + 5) + sql.encode() + b"\0"


BIG = query("select repeat('x', 20000000)")


class Recorder(asyncio.Protocol):
    """A protocol that records what is delivered.

    Attributes:
        pauses: ``no``, ``inside`` (pause on each piece, and resume in the callback), or ``later``.
        late: How many pieces were delivered while the protocol had paused reading.
    """

    def __init__(self, pauses: str = "no") -> None:
        self.loop = asyncio.get_running_loop()
        self.pauses = pauses
        self.pieces: list[bytes] = []
        self.size = self.late = 0
        self.is_paused = self.writing_paused = False
        self.raises: BaseException | None = None
        self.changed = asyncio.Event()
        self.lost: asyncio.Future[Exception | None] = self.loop.create_future()
        self.losses = 0

    def connection_made(self, transport: Any) -> None:
        self.transport: SecureTransport = transport
        transport.write(STARTUP)
        self.inside = self.size > 0

    def data_received(self, data: bytes) -> None:
        self.late += self.is_paused
        assert type(data) is bytes
        self.pieces = [*self.pieces[-1:], data]
        self.size += len(data)
        self.changed.set()
        if self.raises is not None:
            raise self.raises
        if self.pauses != "no":
            self.pause()
            if self.pauses == "inside":
                self.resume()
            else:
                self.loop.call_later(0.0005, self.resume)

    def pause(self) -> None:
        self.is_paused = True
        self.transport.pause_reading()

    def resume(self) -> None:
        self.is_paused = False
        self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.losses += 1
        if not self.lost.done():
            self.lost.set_result(exc)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for data until the condition holds."""
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    async def until_ready(self) -> None:
        await self.until(lambda: b"".join(self.pieces).endswith(READY))


async def opened(target: babar_tls.Config, pauses: str = "no", raises: BaseException | None = None) -> Recorder:
    session = await AsyncSession.connect(target)
    recorder = Recorder(pauses)
    recorder.raises = raises
    await SecureTransport(session.detach(), recorder).open(asyncio.get_running_loop())
    return recorder


async def ended(recorder: Recorder) -> None:
    """Terminate the connection, and check that its end was reported once."""
    recorder.transport.write(TERMINATE)
    assert await recorder.lost is None
    assert recorder.losses == 1


def checked(main: Callable[[], Awaitable[None]], loop: str) -> None:
    """Run twice, and check that the second run leaves no descriptor and no thread behind."""
    before = resources()
    run(main, loop)
    assert resources() == before
