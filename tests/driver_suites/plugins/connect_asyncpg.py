"""A pytest plugin for asyncpg's suite: its connections are opened by babar-tls, or counted.

`asyncpg.connection.connect` is what its test cases and pools call. The server, the login and TLS come from environment
variables (``PGHOST`` and others), which both sides read.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from typing import Any

import asyncpg
from record import OURS, PARAMETERS, count

from babar_tls.conninfo.syntax import quote
from babar_tls.integrations import asyncpg as ours

_original = asyncpg.connection.connect
#: True while babar-tls opens a connection: it calls `asyncpg.connect`.
_within = ContextVar("_within", default=False)
_ADDRESS = {"host", "port"}  # one or several
_FIELDS = {"user", "password", "database", "passfile", "target_session_attrs"}
_OPTIONS = {name for name, each in inspect.signature(ours.connect).parameters.items() if each.kind is each.KEYWORD_ONLY}


def _target(dsn: str | None, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the connection string and the fields for these arguments, or `None` if babar-tls has no equivalent."""
    if set(arguments) - _ADDRESS - _FIELDS - _OPTIONS:
        return None
    given = {name: value for name, value in arguments.items() if value is not None}
    fields = {name: given[name] for name in _FIELDS & set(given)}
    addresses = {name: given[name] for name in _ADDRESS & set(given)}
    if dsn is not None:
        return dsn, fields | addresses
    words = []
    for name, value in addresses.items():
        values = value if isinstance(value, list | tuple) else [value]
        words.append(f"{name}={quote(','.join(map(str, values)))}")
    return " ".join(words), fields


async def connect(dsn: str | None = None, **arguments: Any) -> Any:
    """Connect as `asyncpg.connect` does, with babar-tls on that side."""
    if _within.get():
        return await _original(dsn, **arguments)
    count("connects")
    if not OURS:
        return await _original(dsn, **arguments)
    target = _target(dsn, arguments)
    if target is None:
        count("bypasses")
        return await _original(dsn, **arguments)
    options = {name: value for name, value in arguments.items() if name in _OPTIONS}
    token = _within.set(True)
    try:
        return await ours.connect(target[0], tls_backend=PARAMETERS["backend"], **target[1], **options)
    finally:
        _within.reset(token)


connect.__doc__ = _original.__doc__
asyncpg.connect = asyncpg.connection.connect = connect
