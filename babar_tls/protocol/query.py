"""The simple query protocol, as far as a health check, a benchmark and a hand-over need it.

The exchanges here are driven like the handshake. They end, with a result or an error, when the server is ready for
the next query; an error that leaves the conversation in doubt (`ProtocolError`, `Closed`) ends the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ConfigError, Error, ProtocolError, ServerError
from . import messages
from .requests import Exchange, Phase, Request, Send, fill

if TYPE_CHECKING:
    from collections.abc import Generator

Row: TypeAlias = "tuple[str | None, ...]"

#: Nothing that a caller of `simple_query` or `copy_out` wants to see.
_IGNORED = frozenset([b"C", b"I", b"T", b"c", b"N", b"A"])


def simple_query(sql: str, reader: messages.MessageReader, parameters: dict[str, str]) -> Exchange[list[Row]]:
    """Run one Query; returns the rows of its last statement that has any.

    Raises:
        ServerError: The server reported an error.
    """
    yield Send(messages.query(sql), Phase.QUERY)
    rows: list[Row] = []
    failure: ServerError | None = None
    while True:
        rows += map(messages.parse_data_row, reader.take(b"D"))
        message = reader.next_message()
        if message is None:
            yield from fill(reader, Phase.QUERY)
            continue
        kind, payload = message
        if kind == b"D":  # there were more than are taken at a time
            rows.append(messages.parse_data_row(payload))
        elif kind == b"T":
            rows = []
        elif kind == b"G":
            yield Send(messages.copy_fail("COPY FROM STDIN is not supported"), Phase.QUERY)
        elif kind == b"Z":
            messages.parse_ready_for_query(payload)
            if failure is not None:
                raise failure
            return rows
        elif kind == b"E":
            failure = failure or _server_error(payload)
        elif kind == b"S":
            parameters.update([messages.parse_parameter_status(payload)])
        elif kind not in _IGNORED and kind not in (b"H", b"d"):
            raise ProtocolError(f"the server sent {kind!r} in answer to a query")


def copy_out(
    sql: str, reader: messages.MessageReader, parameters: dict[str, str]
) -> Generator[Request | list[bytes], Any, None]:
    """Run one ``COPY … TO STDOUT``; yields requests and, in lists that are never empty, the CopyData that has come.

    Raises:
        ServerError: The server reported an error.
        ConfigError: The statement was no ``COPY … TO STDOUT``.
    """
    yield Send(messages.query(sql), Phase.QUERY)
    failure: Error | None = None
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
        elif kind == b"G":
            yield Send(messages.copy_fail("COPY FROM STDIN is not supported"), Phase.QUERY)
        elif kind == b"Z":
            messages.parse_ready_for_query(payload)
            if failure is None and not copied:
                failure = ConfigError("copy_to was given a statement that is no COPY … TO STDOUT")
            if failure is not None:
                raise failure
            return
        elif kind == b"E":
            failure = failure or _server_error(payload)
        elif kind == b"S":
            parameters.update([messages.parse_parameter_status(payload)])
        elif kind not in _IGNORED and kind != b"D":
            raise ProtocolError(f"the server sent {kind!r} in answer to COPY")


def _server_error(payload: bytes) -> ServerError:
    error = ServerError(messages.parse_fields(payload))
    if error.severity in ("FATAL", "PANIC"):  # nothing follows but the end of the connection
        raise error
    return error
