"""A query over one connection, for tests that compare a result or an error text."""

from __future__ import annotations

import babar_tls


def query(conninfo: str, sql: str = "select 'in'") -> str:
    """Return the only value that a query returns, or the text of the error."""
    try:
        with babar_tls.connect(conninfo, connect_timeout=20) as session:
            ((value,),) = session.query(sql)
            return value or ""
    except babar_tls.Error as exc:
        return str(exc)
