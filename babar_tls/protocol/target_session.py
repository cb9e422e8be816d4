"""Is the session one of those that `target_session_attrs` asks for?

PostgreSQL 14 and later report what is needed as parameters; older servers, and poolers that do not pass those on, are
asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import TargetSessionAttrs
from ..errors import ProtocolError, TargetSessionError
from .query import simple_query

if TYPE_CHECKING:
    from .messages import MessageReader
    from .requests import Exchange

_REMEDY = "Name another host as well (host=a,b), or ask for less: target_session_attrs."


def check_session(wanted: TargetSessionAttrs, parameters: dict[str, str], reader: MessageReader) -> Exchange[None]:
    """Find out, and refuse a session that is not wanted.

    Raises:
        TargetSessionError: It is not.
        ServerError: The server did not answer the question.
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
    return (yield from _ask("SHOW transaction_read_only", "on", parameters, reader))


def _is_standby(parameters: dict[str, str], reader: MessageReader) -> Exchange[bool]:
    reported = parameters.get("in_hot_standby")
    if reported is not None:
        return reported == "on"
    return (yield from _ask("SELECT pg_catalog.pg_is_in_recovery()", "t", parameters, reader))


def _ask(question: str, yes: str, parameters: dict[str, str], reader: MessageReader) -> Exchange[bool]:
    rows = yield from simple_query(question, reader, parameters)
    if len(rows) != 1 or len(rows[0]) != 1:
        raise ProtocolError(f"the server did not answer {question!r} with one value")
    return rows[0][0] == yes
