"""Stage ``server``: settings of the server that are worth a warning."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from ..errors import Closed, Error, ServerError, TimeoutError
from ..protocol.query import simple_query
from ..security import MIN_ITERATIONS
from .case import Skipped
from .causes import Cause
from .classify import describe

if TYPE_CHECKING:
    from ..net.establish import Ready
    from ..protocol.query import Row
    from .case import Case, Notes

_OLD_TLS = ("", "TLSv1", "TLSv1.1")
_SETTINGS = ("password_encryption", "ssl_min_protocol_version", "scram_iterations")
#: Without the privilege, SHOW fails and the server logs an error. This view leaves the setting out.
_SELECT = """\
SELECT name, setting FROM pg_catalog.pg_settings
WHERE name IN ('password_encryption', 'ssl_min_protocol_version', 'scram_iterations')"""
_LONGEST = 100  # characters of a setting

#: The end of support of each major version (https://www.postgresql.org/support/versioning/).
END_OF_SUPPORT = {
    10: date(2022, 11, 10),
    11: date(2023, 11, 9),
    12: date(2024, 11, 21),
    13: date(2025, 11, 13),
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}


def check_settings(case: Case, notes: Notes) -> None:
    """Read settings over the session."""
    session = case.ready
    if session is None:
        raise Skipped("there is no session")
    session.connection.meter.restart(case.timeout)
    try:
        _check_version(session.established.parameters.get("server_version", ""), notes)
        _check_each(session, notes)
        iterations = session.security.scram_iterations
        if iterations is not None and iterations < MIN_ITERATIONS:
            _warn_of_iterations("the role's password has", iterations, notes)
    except (Closed, TimeoutError):
        notes.observe("The server did not answer in time, or closed the connection.")
    except Error as error:
        notes.observe(f"The server did not report its settings: {describe(error)}")


def _check_each(session: Ready, notes: Notes) -> None:
    rows = _query(session, _SELECT, notes)
    settings = {row[0]: (row[1] or "")[:_LONGEST] for row in rows if len(row) == 2 and row[0] in _SETTINGS}
    for name, value in settings.items():
        notes.observe(f"{name} = {value}")
    missing = [name for name in _SETTINGS if name not in settings]
    if missing:
        notes.observe(f"Not reported, or not readable by this role: {', '.join(missing)}")
    if settings.get("password_encryption") in ("md5", "on"):
        remedy = "ALTER SYSTEM SET password_encryption = 'scram-sha-256', reload, and set the passwords again."
        notes.warn(Cause.WEAK_SERVER_SETTING, "new passwords are stored as MD5 (password_encryption)", remedy)
    if settings.get("ssl_min_protocol_version") in _OLD_TLS and session.security.tls:
        remedy = "ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.2', and reload."
        notes.warn(Cause.WEAK_SERVER_SETTING, "the server accepts TLS versions before 1.2", remedy)
    iterations = settings.get("scram_iterations", "")
    if iterations.isdecimal() and int(iterations) < MIN_ITERATIONS:
        _warn_of_iterations("new passwords get", int(iterations), notes)
    for row in _query(session, "SELECT pg_catalog.pg_is_in_recovery()", notes)[:1]:
        notes.observe("The server is a standby (in recovery)." if row[:1] == ("t",) else "The server is a primary.")


def _warn_of_iterations(whose: str, iterations: int, notes: Notes) -> None:
    remedy = f"Set scram_iterations to {MIN_ITERATIONS} or more, and set the password again."
    text = f"{whose} only {iterations} SCRAM iterations, which makes guesses at a stolen verifier fast"
    notes.warn(Cause.WEAK_SERVER_SETTING, text, remedy)


def _check_version(version: str, notes: Notes) -> None:
    notes.observe(f"PostgreSQL {version[:_LONGEST] or '(version not reported)'}")
    found = re.match("[0-9]{1,3}", version)
    if found is None:
        return
    major = int(found[0])
    end = END_OF_SUPPORT.get(major, date.min if major < min(END_OF_SUPPORT) else None)
    if end is not None and datetime.now(UTC).date() > end:
        when = f" since {end}" if end > date.min else ""
        notes.warn(Cause.WEAK_SERVER_SETTING, f"PostgreSQL {major} is out of support{when}", "Upgrade the server.")


def _query(session: Ready, sql: str, notes: Notes) -> list[Row]:
    """Return the rows of a statement; none if the server or a pooler refuses it.

    The limits on the response are those of the query for `target_session_attrs`.
    """
    session.established.reader.expect_target_session()
    query = simple_query(sql, session.established.reader, session.established.parameters)
    try:
        return session.connection.drive(query)
    except ServerError as error:
        notes.observe(f"The server refused {sql!r}: {describe(error)}")
        return []
