"""The simple query protocol: queries and COPY TO, as far as health checks and benchmarks need them.

The exchanges are driven like the handshake. They end, with a result or an error, when the server is ready for the next
query. After a `ProtocolError` or `Closed` the state of the conversation is unknown, and the session ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ConfigError, ProtocolError, ServerError
from . import messages
from .requests import Exchange, Phase, Request, Send, fill

if TYPE_CHECKING:
    from collections.abc import Generator

    from .message_reader import MessageReader

Row: TypeAlias = "tuple[str | None, ...]"

#: Message types that are ignored, by kind of statement: CommandComplete, EmptyQueryResponse, CopyDone, notices and
#: notifications, and the messages for the data of the other kind of statement.
_IGNORED = {"a query": b"CIcNAd", "COPY": b"CIcNATD"}


def simple_query(sql: str, reader: MessageReader, parameters: dict[str, str]) -> Exchange[list[Row]]:
    """Run one Query; return the rows of the last statement that returns any.

    Raises:
        ServerError: The server reported an error.
        ConfigError: A statement was a ``COPY … TO STDOUT``, whose data is not rows.
    """
    yield Send(messages.query(sql), Phase.QUERY)
    rows: list[Row] = []
    failure: ServerError | ConfigError | None = None
    while True:
        rows += map(messages.parse_data_row, reader.take(b"D"))
        message = reader.next_message()
        if message is None:
            yield from fill(reader, Phase.QUERY)
            continue
        kind, payload = message
        if kind == b"D":  # `take` returns only a part of many rows
            rows.append(messages.parse_data_row(payload))
        elif kind == b"T":
            rows = []
        elif kind == b"H":
            failure = failure or ConfigError(
                "query cannot return the data of COPY … TO STDOUT",
                remedy="Use copy_to, or a statement that returns rows: TABLE name.",
            )
        elif kind == b"Z":
            messages.parse_ready_for_query(payload)
            if failure is not None:
                raise failure
            return rows
        else:
            error = yield from _process(kind, payload, parameters, "a query")
            failure = failure or error


def copy_out(
    sql: str, reader: MessageReader, parameters: dict[str, str]
) -> Generator[Request | list[bytes], Any, None]:
    """Run one ``COPY … TO STDOUT``; yield requests, and lists of the CopyData that has arrived. No list is empty.

    Raises:
        ServerError: The server reported an error.
        ConfigError: The statement was not a ``COPY … TO STDOUT``.
    """
    yield Send(messages.query(sql), Phase.QUERY)
    failure: ServerError | None = None
    copied = False
    while True:
        batch = reader.take(b"d")
        if batch:
            yield batch
            continue
        message = reader.next_message()
        if message is None:
            yield from fill(reader, Phase.QUERY)
            continue
        kind, payload = message
        if kind == b"H":
            copied = True
        elif kind == b"Z":
            messages.parse_ready_for_query(payload)
            if failure is not None:
                raise failure
            if not copied:
                raise ConfigError("copy_to requires a COPY … TO STDOUT statement")
            return
        else:
            error = yield from _process(kind, payload, parameters, "COPY")
            failure = failure or error


def _process(kind: bytes, payload: bytes, parameters: dict[str, str], statement: str) -> Exchange[ServerError | None]:
    """Process a message that has the same meaning for every statement; return the error if it is one.

    Args:
        kind: The type of the message.
        payload: Its content.
        parameters: The server's parameters, which a message may change.
        statement: The kind of statement, a key of `_IGNORED`.
    """
    if kind == b"E":
        error = ServerError(messages.parse_fields(payload))
        if error.severity in ("FATAL", "PANIC"):  # the server closes the connection; ReadyForQuery does not follow
            raise error
        return error
    if kind == b"G":
        yield Send(messages.copy_fail("COPY FROM STDIN is not supported"), Phase.QUERY)
    elif kind == b"S":
        parameters.update([messages.parse_parameter_status(payload)])
    elif kind not in _IGNORED[statement]:
        raise ProtocolError(f"the server sent {kind!r} in response to {statement}")
    return None
