"""Frontend/backend protocol 3.0: the messages that this library sends and reads.

https://www.postgresql.org/docs/current/protocol-message-formats.html

Decoding trusts nothing: lengths are checked before anything is kept, strings must end where they say, and until
authentication is over a server may say only so much (libpq's limits, and a budget for the whole exchange).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..errors import ConfigError, ProtocolError
from ..tls.banners import describe_service

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

PROTOCOL_3_0 = 196608
_SSL_REQUEST_CODE = 80877103
_CANCEL_REQUEST_CODE = 80877102

#: Limits on one message's length while the server is not yet known to be a PostgreSQL, as libpq has them.
MAX_AUTH_LENGTH = 2000
MAX_SASL_LENGTH = 65536
MAX_ERROR_LENGTH = 30000
#: What a server may send in all before ReadyForQuery, and in answer to the query for `target_session_attrs`.
MAX_STARTUP_BYTES = 1 << 20
MAX_STARTUP_MESSAGES = 2000
MAX_TARGET_SESSION_BYTES = 1 << 16
MAX_TARGET_SESSION_MESSAGES = 200
#: The protocol's own limit for everything else.
_MAX_LENGTH = 0x3FFFFFFF

#: Sizes of a reader's buffer, in bytes: to begin with, for bulk, and the most that is kept between two answers. Only a
#: message that is longer than the second makes it larger.
_SMALL = 1 << 13
_LARGE = 1 << 18
_KEPT = 1 << 16
#: Bytes that are cut into short messages at a time, because an event loop waits for as long; and what is not short.
_WINDOW = 1 << 16
_LONG = 1 << 11

_HEADER = struct.Struct("!cI")
_BULK_HEADER = struct.Struct("!BI")
_INT32 = struct.Struct("!I")
_UINT16 = struct.Struct("!H")
_LENGTH = struct.Struct("!i")

#: What may arrive before ReadyForQuery, and how long it may be.
_STARTUP_LIMITS = {
    b"R": MAX_SASL_LENGTH,
    b"E": MAX_ERROR_LENGTH,
    b"N": MAX_ERROR_LENGTH,
    b"S": MAX_ERROR_LENGTH,
    b"v": MAX_ERROR_LENGTH,
    b"K": 4 + 4 + 256,
    b"Z": 4 + 1,
}
#: The same for the query for `target_session_attrs`, which asks for one short value.
_TARGET_SESSION_LIMITS = {
    **dict.fromkeys((b"E", b"N", b"S", b"A", b"T", b"D"), MAX_ERROR_LENGTH),
    b"C": 64,
    b"I": 4,
    b"Z": 4 + 1,
}


_Bytes = TypeVar("_Bytes", bytes, memoryview)


class Message(NamedTuple):
    """One message of the server: its type byte and what follows the length."""

    kind: bytes
    payload: bytes


def shown(byte: bytes) -> str:
    """A byte that should have been something else, as an error shows it: the character, where there is one to show."""
    return byte.decode() if byte.isascii() and byte.decode().isprintable() else repr(byte)[2:-1]


def ssl_request() -> bytes:
    """SSLRequest."""
    return struct.pack("!II", 8, _SSL_REQUEST_CODE)


def cancel_request(process_id: int, secret_key: bytes) -> bytes:
    """CancelRequest; the key is as long as the server made it."""
    return struct.pack("!III", 12 + len(secret_key), _CANCEL_REQUEST_CODE, process_id) + secret_key


def startup(parameters: Iterable[tuple[str, str]]) -> bytes:
    """StartupMessage."""
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters)
    return struct.pack("!II", 9 + len(body), PROTOCOL_3_0) + body + b"\0"


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """Any message with a type byte."""
    return _HEADER.pack(kind, 4 + len(payload)) + payload


def password(secret: bytes) -> bytes:
    """PasswordMessage: a cleartext password or an md5 digest.

    Raises:
        ConfigError: The secret contains a zero byte, which would cut it short.
    """
    if b"\0" in secret:
        raise ConfigError("the password contains a zero byte, which this authentication method cannot carry")
    return frame(b"p", secret + b"\0")


def sasl_initial_response(mechanism: str, response: bytes) -> bytes:
    """SASLInitialResponse."""
    return frame(b"p", mechanism.encode() + b"\0" + _INT32.pack(len(response)) + response)


def sasl_response(response: bytes) -> bytes:
    """SASLResponse."""
    return frame(b"p", response)


def query(sql: str) -> bytes:
    """Query.

    Raises:
        ConfigError: The text contains a zero byte or a lone surrogate.
    """
    if "\0" in sql:
        raise ConfigError("the query contains a zero byte, which the protocol cannot carry")
    try:
        return frame(b"Q", sql.encode() + b"\0")
    except UnicodeEncodeError:
        raise ConfigError("the query contains a lone surrogate, which UTF-8 cannot carry") from None


def copy_fail(reason: str) -> bytes:
    """CopyFail."""
    return frame(b"f", reason.encode() + b"\0")


TERMINATE = frame(b"X")


class MessageReader:
    """Cuts a stream of bytes into messages.

    Bytes are passed to `feed`, or put into `space()` without a copy in between and then counted by `received`. Until
    `ready()` is called, only the messages of the start-up phase are accepted, within their limits; from
    `expect_target_session()` on, those that answer the query for `target_session_attrs`.
    """

    def __init__(self) -> None:
        self._limits: dict[bytes, int] | None = _STARTUP_LIMITS  # None when connecting is over
        self._bytes_left = MAX_STARTUP_BYTES
        self._messages_left = MAX_STARTUP_MESSAGES
        self._start = self._end = 0  # of what has come and was not yet read
        self._crowded = False
        self._buffer = bytearray(_SMALL)
        self._view = memoryview(self._buffer)

    def feed(self, data: Buffer) -> None:
        """Take bytes from the server.

        Raises:
            ProtocolError: The server sent more than any start-up needs.
        """
        view = memoryview(data).cast("B")
        while view:
            space = self.space()
            count = min(len(space), len(view))
            space[:count] = view[:count]
            self.received(count)
            view = view[count:]

    def space(self) -> memoryview:
        """Where the next bytes may be put; never empty, and to be used at once, for it moves."""
        size, unread = len(self._buffer), self._end - self._start
        if not unread:
            self._start = self._end = 0
        if self._crowded and size < _LARGE:  # this is bulk: there will be more of it
            self._renew(min(4 * size, _LARGE))
        elif unread > size // 2 and size - self._end < size // 4:  # one message is longer than all that there is
            self._renew(2 * size)
        elif self._start and size - self._end < size // 2:
            self._view[:unread] = self._view[self._start : self._end]
            self._start, self._end = 0, unread
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """So many bytes were put into the `space()`.

        Raises:
            ProtocolError: The server sent more than any start-up needs.
        """
        self._end += count
        self._crowded = self._end == len(self._buffer)
        if self._limits is not None:
            self._bytes_left -= count
            if self._bytes_left < 0:
                raise ProtocolError(
                    f"the server sent more than {MAX_STARTUP_BYTES} bytes before it was ready"
                    if self._limits is _STARTUP_LIMITS
                    else f"the server sent more than {MAX_TARGET_SESSION_BYTES} bytes in answer to one question"
                )

    def next_message(self) -> Message | None:
        """The next whole message, or `None` until more bytes have come.

        Raises:
            ProtocolError: No PostgreSQL server would send this.
        """
        start = self._start
        if self._end - start < _HEADER.size:
            if self._limits is not None and self._end > start:
                self._limit(bytes(self._view[start : start + 1]))
            return None
        kind, length = _HEADER.unpack_from(self._buffer, start)
        if kind == b"E" and self._limits is _STARTUP_LIMITS and length >> 24 >= ord(" "):
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
            self._renew(max(_SMALL, self._end - end))  # the answer is at its end, and so is the need for room
        return Message(kind, payload)

    def take(self, kind: bytes) -> list[bytes]:
        """The payloads of the whole messages that come next and are all of this type, of some of them if they are many.

        It is `next_message` for what comes in bulk, and leaves to it whatever is wrong with a message.

        Raises:
            ProtocolError: The start-up phase has no such messages, or has had too many.
        """
        if self._end - self._start < _HEADER.size or self._buffer[self._start] != kind[0]:
            return []
        unread, longest = self._view[self._start : self._end], self._limit(kind)
        if _BULK_HEADER.unpack_from(unread)[1] < _LONG:
            # Cut from `bytes` a message costs half of what it does by a view, and this copy less than that saves.
            taken, end = _cut(bytes(unread[:_WINDOW]), kind, longest)
        else:
            views, end = _cut(unread, kind, longest)
            taken = [bytes(view) for view in views]
        self._start += end
        self._count(len(taken))
        return taken

    def expect_target_session(self) -> None:
        """Accept the messages that answer the query for `target_session_attrs`, within limits of their own."""
        self._limits = _TARGET_SESSION_LIMITS
        self._bytes_left = MAX_TARGET_SESSION_BYTES
        self._messages_left = MAX_TARGET_SESSION_MESSAGES

    def ready(self) -> None:
        """Accept any message, of any length that the protocol allows: connecting is over."""
        self._limits = None

    @property
    def pending(self) -> bytes:
        """Bytes that were fed and not yet read."""
        return bytes(self._view[self._start : self._end])

    def _renew(self, size: int) -> None:
        """Another buffer of this size, with what is unread in it."""
        unread = self._end - self._start
        buffer = bytearray(size)
        view = memoryview(buffer)
        if unread:
            view[:unread] = self._view[self._start : self._end]
        self._buffer, self._view = buffer, view
        self._start, self._end = 0, unread
        self._crowded = False

    def _bare_error(self, start: int) -> Message | None:
        """A postmaster that cannot fork a server process says why in protocol 2: text where a length should be."""
        end = self._buffer.find(b"\0", start, self._end)
        if end < 0 and self._end - start <= MAX_ERROR_LENGTH:
            return None
        if not 0 <= end - start <= MAX_ERROR_LENGTH:
            raise ProtocolError("the server sent an error message without an end")
        self._start = end + 1
        return Message(b"E", b"VFATAL\0C53000\0M" + bytes(self._view[start:end]).strip() + b"\0\0")

    def _count(self, messages: int) -> None:
        if self._limits is not None:
            self._messages_left -= messages
            if self._messages_left < 0:
                raise ProtocolError(
                    f"the server sent more than {MAX_STARTUP_MESSAGES} messages before it was ready"
                    if self._limits is _STARTUP_LIMITS
                    else f"the server sent more than {MAX_TARGET_SESSION_MESSAGES} messages in answer to one question"
                )

    def _limit(self, kind: bytes) -> int:
        if self._limits is None:
            return _MAX_LENGTH
        try:
            return self._limits[kind]
        except KeyError:
            if self._limits is _TARGET_SESSION_LIMITS:
                raise ProtocolError(f"the server sent {kind!r} in answer to a query") from None
            raise ProtocolError(
                f"expected authentication request from server, but received {shown(kind)}",
                remedy=self._service_remedy() or "Is this the port of a PostgreSQL server?",
            ) from None

    def _service_remedy(self) -> str | None:
        service = describe_service(self.pending[:64]) if self._limits is _STARTUP_LIMITS else None
        return (
            f"This is the port of {service}: set host and port to those of the PostgreSQL server." if service else None
        )


def _cut(source: _Bytes, kind: bytes, longest: int) -> tuple[list[_Bytes], int]:
    """The payloads of the messages of this type, and no longer than that, at the front of `source`; where they end."""
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


def cstrings(payload: bytes) -> list[bytes]:
    """Split a payload that is nothing but zero-terminated strings.

    Raises:
        ProtocolError: The last string has no end.
    """
    if not payload:
        return []
    if payload[-1]:
        raise ProtocolError("the server sent a string without an end")
    return payload[:-1].split(b"\0")


def parse_fields(payload: bytes) -> dict[str, str]:
    """ErrorResponse and NoticeResponse: field code to text (undecodable bytes become U+FFFD).

    Raises:
        ProtocolError: The message is malformed.
    """
    if not payload.endswith(b"\0"):
        raise ProtocolError("the server sent a malformed error message")
    fields = payload[:-1].split(b"\0")
    return {text(item[:1]): text(item[1:]) for item in fields if item}


def parse_parameter_status(payload: bytes) -> tuple[str, str]:
    """ParameterStatus: name and value.

    Raises:
        ProtocolError: The message is malformed.
    """
    parts = payload.decode("utf-8", "replace").split("\0")
    if len(parts) != 3 or parts[2]:
        raise ProtocolError("the server sent a malformed ParameterStatus")
    return parts[0], parts[1]


def parse_backend_key_data(payload: bytes) -> tuple[int, bytes]:
    """BackendKeyData: process ID and secret key.

    Raises:
        ProtocolError: The message is malformed.
    """
    if not 8 <= len(payload) <= 4 + 256:
        raise ProtocolError("the server sent a malformed BackendKeyData")
    return _INT32.unpack_from(payload)[0], payload[4:]


def parse_ready_for_query(payload: bytes) -> bytes:
    """ReadyForQuery: the transaction status, ``I`` (idle), ``T`` (in a transaction) or ``E`` (in a failed one).

    Raises:
        ProtocolError: The message is malformed.
    """
    if payload not in (b"I", b"T", b"E"):
        raise ProtocolError("the server sent a malformed ReadyForQuery")
    return payload


def parse_data_row(payload: bytes) -> tuple[str | None, ...]:
    """DataRow in text format.

    Raises:
        ProtocolError: The message is malformed.
    """
    values: list[str | None] = []
    offset, end = 2, len(payload)
    try:
        (count,) = _UINT16.unpack_from(payload)
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(payload, offset)
            offset += 4
            if length >= 0:
                values.append(payload[offset : offset + length].decode("utf-8", "replace"))
                offset += length
            elif length == -1:
                values.append(None)
            else:
                raise ProtocolError("the server sent a malformed DataRow")
    except struct.error:
        offset = -1
    if offset != end:
        raise ProtocolError("the server sent a malformed DataRow")
    return tuple(values)


def text(data: bytes) -> str:
    """Decode what is meant to be UTF-8 and may, before authentication, be anything."""
    return data.decode("utf-8", "replace")
