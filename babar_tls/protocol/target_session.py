"""Check whether the session is of the kind that `target_session_attrs` requires.

PostgreSQL 14 and later report the values as parameters. With older servers, and with poolers that do not forward
these parameters, a query returns the value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import TargetSessionAttrs
from ..errors import ProtocolError, TargetSessionError
from .query import simple_query

if TYPE_CHECKING:
    from .message_reader import MessageReader
    from .requests import Exchange

_REMEDY = "Add another host (host=a,b), or set target_session_attrs to a value that this server satisfies."


def check_session(wanted: TargetSessionAttrs, parameters: dict[str, str], reader: MessageReader) -> Exchange[None]:
    """Raise an error unless the session is of the required kind.

    Raises:
        TargetSessionError: The session is of another kind.
        ServerError: The query failed.
    """
    if wanted in (TargetSessionAttrs.READ_WRITE, TargetSessionAttrs.READ_ONLY):
        read_only = yield from _is_read_only(parameters, reader)
        if read_only is (wanted is TargetSessionAttrs.READ_WRITE):
            raise TargetSessionError(f"session is {'' if read_only else 'not '}read-only", remedy=_REMEDY)
    elif wanted in (TargetSessionAttrs.PRIMARY, TargetSessionAttrs.STANDBY):
        standby = yield from _is_standby(parameters, reader)
        if standby is (wanted is TargetSessionAttrs.PRIMARY):
            raise TargetSessionError(f"server is {'' if standby else 'not '}in hot standby mode", remedy=_REMEDY)


def _is_read_only(parameters: dict[str, str], reader: MessageReader) -> Exchange[bool]:
    reported = [parameters.get("default_transaction_read_only"), parameters.get("in_hot_standby")]
    if None not in reported:
        return "on" in reported
    return (yield from _query_value("SHOW transaction_read_only", parameters, reader)) == "on"


def _is_standby(parameters: dict[str, str], reader: MessageReader) -> Exchange[bool]:
    reported = parameters.get("in_hot_standby")
    if reported is not None:
        return reported == "on"
    return (yield from _query_value("SELECT pg_catalog.pg_is_in_recovery()", parameters, reader)) == "t"


def _query_value(sql: str, parameters: dict[str, str], reader: MessageReader) -> Exchange[str | None]:
    rows = yield from simple_query(sql, reader, parameters)
    if len(rows) != 1 or len(rows[0]) != 1:
        raise ProtocolError(f"the server did not return one value for {sql!r}")
    return rows[0][0]
