"""Split the byte stream of the server into messages, within limits.

Lengths are checked before bytes are kept. Until the session is ready, each type of message has its own limit, as
in libpq, and the number and the total size of the messages are limited.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..errors import ProtocolError
from ..tls.banners import describe_service
from .messages import Message, shown

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Limits on the length of one message before the server is authenticated; the same as in libpq.
MAX_AUTH_LENGTH = 2000
MAX_SASL_LENGTH = 65536
MAX_ERROR_LENGTH = 30000
#: The limit of the protocol on all other messages.
_MAX_LENGTH = 0x3FFFFFFF

#: The sizes of a reader's buffer in bytes: the initial size, the size for bulk data, and the largest size that is kept
#: after an answer. Only a message that is longer than `_LARGE` makes the buffer larger than that.
_SMALL = 1 << 13
_LARGE = 1 << 18
_KEPT = 1 << 16
#: The maximum number of bytes to split into short messages at a time. The event loop is blocked meanwhile.
_WINDOW = 1 << 16
#: A message of at least this length is not short.
_LONG = 1 << 11

_HEADER = struct.Struct("!cI")
_BULK_HEADER = struct.Struct("!BI")

_Bytes = TypeVar("_Bytes", bytes, memoryview)


class Limits(NamedTuple):
    """The messages that the server may send in one phase.

    Attributes:
        lengths: The maximum length of each type of message; other types are not allowed.
        total_bytes: The maximum of all messages together.
        total_messages: The maximum number of messages.
        phase: The words for the phase at the end of an error text.
    """

    lengths: dict[bytes, int]
    total_bytes: int
    total_messages: int
    phase: str


#: From the StartupMessage to ReadyForQuery.
STARTUP = Limits(
    {
        b"R": MAX_SASL_LENGTH,
        **dict.fromkeys((b"E", b"N", b"S", b"v", b"K"), MAX_ERROR_LENGTH),
        b"Z": 4 + 1,
    },
    total_bytes=1 << 20,
    total_messages=2000,
    phase="before it was ready",
)
#: In response to the query for `target_session_attrs`, which returns one short value.
TARGET_SESSION = Limits(
    {
        **dict.fromkeys((b"E", b"N", b"S", b"A", b"T", b"D"), MAX_ERROR_LENGTH),
        b"C": 64,
        b"I": 4,
        b"Z": 4 + 1,
    },
    total_bytes=1 << 16,
    total_messages=200,
    phase="in response to a query",
)


class MessageReader:
    """Splits a byte stream into messages.

    Pass bytes to `feed`, or write them into `space()`, which saves a copy, and pass their number to `received`. The
    `STARTUP` limits apply first, the `TARGET_SESSION` limits after `expect_target_session()`, none after `ready()`.
    """

    _limits: Limits | None

    def __init__(self) -> None:
        self._start = self._end = 0  # of the bytes that were received and are unread
        self._is_full = False
        self._limit_to(STARTUP)
        self._buffer = bytearray(_SMALL)
        self._view = memoryview(self._buffer)

    def feed(self, data: Buffer) -> None:
        """Append bytes that the server sent.

        Raises:
            ProtocolError: The server has sent more bytes than this phase allows.
        """
        view = memoryview(data).cast("B")
        while view:
            space = self.space()
            count = min(len(space), len(view))
            space[:count] = view[:count]
            self.received(count)
            view = view[count:]

    def space(self) -> memoryview:
        """Return the part of the buffer for the next bytes. It is never empty, and valid until the next method call."""
        size, unread = len(self._buffer), self._end - self._start
        if not unread:
            self._start = self._end = 0
        if self._is_full and size < _LARGE:  # bulk data: more will follow
            self._resize(min(4 * size, _LARGE))
        elif unread > size // 2 and size - self._end < size // 4:  # one message fills the buffer
            self._resize(2 * size)
        elif self._start and size - self._end < size // 2:
            self._view[:unread] = self._view[self._start : self._end]
            self._start, self._end = 0, unread
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """Record that `count` bytes were written into `space()`.

        Raises:
            ProtocolError: The server has sent more bytes than this phase allows.
        """
        self._end += count
        self._is_full = self._end == len(self._buffer)
        limits = self._limits
        if limits is not None:
            self._bytes_left -= count
            if self._bytes_left < 0:
                raise ProtocolError(f"the server sent more than {limits.total_bytes} bytes {limits.phase}")

    def next_message(self) -> Message | None:
        """Return the next complete message, or `None` if more bytes are needed.

        Raises:
            ProtocolError: The message is malformed, too long, or not allowed in this phase.
        """
        start = self._start
        if self._end - start < _HEADER.size:
            if self._limits is not None and self._end > start:
                self._limit(bytes(self._view[start : start + 1]))  # check the type before the length arrives
            return None
        kind, length = _HEADER.unpack_from(self._buffer, start)
        if kind == b"E" and self._limits is STARTUP and length >> 24 >= ord(" "):
            return self._bare_error(start + 1)
        if not 4 <= length <= self._limit(kind):
            raise ProtocolError(
                f"the server sent a message of type {kind!r} with an impossible length, {length}",
                remedy=self._service_remedy(),
            )
        end = start + 1 + length
        if self._end < end:
            return None
        self._count(1)
        payload = bytes(self._view[start + _HEADER.size : end])
        self._start = end
        if kind == b"Z" and len(self._buffer) > _KEPT:
            self._resize(max(_SMALL, self._end - end))  # the answer is complete
        return Message(kind, payload)

    def take(self, kind: bytes) -> list[bytes]:
        """Return the payloads of the next consecutive complete messages of one type. More of them may remain.

        This is the fast way to read bulk data. It stops before an invalid message, for which `next_message` raises.

        Raises:
            ProtocolError: This phase does not allow such messages, or the server has sent too many.
        """
        if self._end - self._start < _HEADER.size or self._buffer[self._start] != kind[0]:
            return []
        unread, longest = self._view[self._start : self._end], self._limit(kind)
        if _BULK_HEADER.unpack_from(unread)[1] < _LONG:
            # Slices of `bytes` cost half as much as slices of a view, which saves more than this copy costs.
            taken, end = _split(bytes(unread[:_WINDOW]), kind, longest)
        else:
            views, end = _split(unread, kind, longest)
            taken = [bytes(view) for view in views]
        self._start += end
        self._count(len(taken))
        return taken

    def expect_target_session(self) -> None:
        """Apply the limits for the response to the query for `target_session_attrs`."""
        self._limit_to(TARGET_SESSION)

    def ready(self) -> None:
        """Accept all messages that the protocol allows, because connecting is complete."""
        self._limits = None

    @property
    def pending(self) -> bytes:
        """The bytes that were received and are unread."""
        return bytes(self._view[self._start : self._end])

    def _limit_to(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes_left = limits.total_bytes
        self._messages_left = limits.total_messages

    def _resize(self, size: int) -> None:
        """Replace the buffer by one of this size, and keep the unread bytes."""
        unread = self._end - self._start
        buffer = bytearray(size)
        view = memoryview(buffer)
        if unread:
            view[:unread] = self._view[self._start : self._end]
        self._buffer, self._view = buffer, view
        self._start, self._end = 0, unread
        self._is_full = False

    def _bare_error(self, start: int) -> Message | None:
        """Parse an error of protocol 2, which has text in place of a length; a postmaster that cannot fork sends it."""
        end = self._buffer.find(b"\0", start, self._end)
        if end < 0 and self._end - start <= MAX_ERROR_LENGTH:
            return None
        if not 0 <= end - start <= MAX_ERROR_LENGTH:
            raise ProtocolError("the server sent an unterminated error message")
        self._start = end + 1
        return Message(b"E", b"VFATAL\0C53000\0M" + bytes(self._view[start:end]).strip() + b"\0\0")

    def _count(self, messages: int) -> None:
        limits = self._limits
        if limits is not None:
            self._messages_left -= messages
            if self._messages_left < 0:
                raise ProtocolError(f"the server sent more than {limits.total_messages} messages {limits.phase}")

    def _limit(self, kind: bytes) -> int:
        """Return the maximum length of a message of this type."""
        if self._limits is None:
            return _MAX_LENGTH
        limit = self._limits.lengths.get(kind)
        if limit is not None:
            return limit
        if self._limits is TARGET_SESSION:
            raise ProtocolError(f"the server sent {kind!r} in response to a query")
        raise ProtocolError(
            f"expected authentication request from server, but received {shown(kind)}",
            remedy=self._service_remedy() or "Check that this is the port of a PostgreSQL server.",
        )

    def _service_remedy(self) -> str | None:
        service = describe_service(self.pending[:64]) if self._limits is STARTUP else None
        if service is None:
            return None
        return f"This is the port of {service}: set host and port to those of the PostgreSQL server."


def _split(source: _Bytes, kind: bytes, longest: int) -> tuple[list[_Bytes], int]:
    """Return the payloads of the valid messages of this type at the start of `source`, and the offset after them."""
    (wanted,) = kind
    unpack, position, end = _BULK_HEADER.unpack_from, 0, len(source)
    payloads = []
    while end - position >= 5:
        found, length = unpack(source, position)
        stop = position + 1 + length
        if found != wanted or stop > end or not 4 <= length <= longest:
            break
        payloads.append(source[position + 5 : stop])
        position = stop
    return payloads, position
