"""The event loop object that gives asyncpg a connection of babar-tls where asyncpg would connect."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

import asyncpg

from ..errors import IntegrationError
from ..net.secure_transport import SecureTransport
from ..protocol.messages import PROTOCOL_3_0, TERMINATE

if TYPE_CHECKING:
    from ..net.secure_stream import SecureStream

_STARTUP_HEADER = struct.Struct("!II")


class ConnectionLoop:
    """The event loop of one asyncpg connection: where asyncpg connects, it gets the stream.

    asyncpg connects once, and once more for each cancel request. All other attributes are those of the real loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: SecureStream) -> None:
        self._loop = loop
        self._stream = stream
        self.transport: SecureTransport | None = None  # while asyncpg connects
        self._has_connected = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    # asyncpg looks tasks up by the loop: `asyncio.current_task(loop)`.

    def __eq__(self, other: object) -> bool:
        return self._loop == (other._loop if isinstance(other, ConnectionLoop) else other)

    def __hash__(self) -> int:
        return hash(self._loop)

    async def create_connection(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._hand_out(arguments, keywords, 3)  # factory, host, port

    async def create_unix_connection(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._hand_out(arguments, keywords, 2)  # factory, path

    async def _hand_out(self, arguments: tuple[Any, ...], keywords: dict[str, Any], expected: int) -> Any:
        """Return the stream in the form of a transport; after the first call, deliver a cancel request.

        A failure to deliver it must be raised here: asyncpg ignores later ones, and would wait for ever.
        """
        if keywords or len(arguments) != expected:
            raise unsupported(f"connects with {len(arguments)} arguments and {sorted(keywords)}")
        protocol = arguments[0]()
        if not self._has_connected:
            self._has_connected = True
            self.transport = transport = SecureTransport(self._stream, protocol, _check_startup)
            await transport.open(self._loop)
            if not transport.has_startup:
                raise unsupported("sends no StartupMessage when it is connected")
            return transport, protocol
        await self._stream.cancel_async()
        for_cancel = _CancelTransport(self._loop, protocol, self._stream)
        protocol.connection_made(for_cancel)
        return for_cancel, protocol

    def abort(self) -> None:
        """Close the connection, because asyncpg has failed to connect."""
        if self.transport is None:
            self._stream.close(TERMINATE)
        else:
            self.transport.abort()
            self.transport = None


class _CancelTransport(asyncio.Transport):
    """The transport for a cancel request that has been delivered: it checks what asyncpg writes, and sends nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, stream: SecureStream) -> None:
        super().__init__({"socket": stream.socket})
        self._loop = loop
        self._protocol = protocol
        self._stream = stream

    def write(self, data: Any) -> None:
        if not self._stream.is_cancel_request(bytes(data)):
            raise unsupported("opens connections for other purposes than cancel requests")
        self._loop.call_soon(self._protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        pass  # there is no connection

    def abort(self) -> None:
        pass  # there is no connection


def _check_startup(data: bytes) -> None:
    """Refuse what is not one StartupMessage."""
    if len(data) < _STARTUP_HEADER.size or _STARTUP_HEADER.unpack_from(data) != (len(data), PROTOCOL_3_0):
        raise unsupported("does not begin with one StartupMessage of protocol 3.0")


def unsupported(behaviour: str) -> IntegrationError:
    """Return the error for a behaviour of asyncpg that was not expected."""
    return IntegrationError(
        f"asyncpg {asyncpg.__version__} {behaviour}",
        remedy="babar-tls supports asyncpg 0.30 to 0.32: install one of these versions.",
    )
