"""A pytest plugin for pg8000's suite: its connections are opened by babar-tls, or counted.

The suite reads ``PGHOST``, ``PGPORT`` and ``PGPASSWORD``. pg8000 uses TLS without verification by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pg8000
import pg8000.dbapi
import pg8000.native
from record import OURS, PARAMETERS, count

if TYPE_CHECKING:
    from collections.abc import Callable

if OURS:
    from babar_tls.integrations import pg8000 as ours

_SUPPORTED = {"host", "port", "user", "password", "database", "application_name"}  # fields of a Config
_SUPPORTED |= {"timeout", "tcp_keepalive", "startup_params"}
_within = False


def _replace(module: Any, name: str, replacement: str) -> None:
    original = getattr(module, name)

    def connect(*arguments: Any, **keywords: Any) -> Any:
        global _within  # noqa: PLW0603 - the suite has one thread
        if _within:
            return original(*arguments, **keywords)
        count("connects")
        if not OURS:
            return original(*arguments, **keywords)
        if arguments or set(keywords) - _SUPPORTED:
            count("bypasses")
            return original(*arguments, **keywords)
        _within = True
        try:
            open_connection: Callable[..., Any] = getattr(ours, replacement)
            return open_connection(tls_backend=PARAMETERS["backend"], **keywords)
        finally:
            _within = False

    setattr(module, name, connect)


_replace(pg8000.native, "Connection", "native")
_replace(pg8000.dbapi, "connect", "connect")
_replace(pg8000, "connect", "legacy")
