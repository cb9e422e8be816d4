"""libpq in a separate process: its blocking calls hold the GIL, and the scripted servers of these tests are threads.

Run as a program it reads conninfo strings and answers with what became of them, one JSON value a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

#: libpq's PQlibVersion: the first with every keyword of the table.
OLDEST = 180000


class Libpq:
    """libpq, as a context manager; `connect` is PQconnectdb, one query and PQfinish."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - this file
            [sys.executable, "-I", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()

    def connect(self, conninfo: str, query: str, home: str) -> tuple[str, list[str]]:
        """Connect as a user with this home directory.

        Returns:
            libpq's error message, empty where it connected, and the one row of `query`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([conninfo, query, home]) + "\n")
        self._process.stdin.flush()
        message, row = json.loads(self._process.stdout.readline())
        return message, row


def require_libpq() -> None:
    """Skip the module if psycopg is missing or its libpq is too old."""
    pq: Any = pytest.importorskip("psycopg.pq", reason="needs psycopg: pip install 'psycopg[binary]'")
    if pq.version() < OLDEST:
        pytest.skip(f"needs libpq 18, and psycopg has {pq.version()}", allow_module_level=True)


def _serve() -> None:
    from psycopg.pq import ConnStatus, PGconn

    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    for line in sys.stdin:
        conninfo, query, home = json.loads(line)
        os.environ["HOME"] = home
        connection = PGconn.connect(conninfo.encode())
        row: list[str] = []
        message = ""
        if connection.status != ConnStatus.OK:
            message = connection.error_message.decode(errors="replace")
        else:
            result = connection.exec_(query.encode())
            row = [(result.get_value(0, column) or b"").decode() for column in range(result.nfields)]
        connection.finish()
        sys.stdout.write(json.dumps([message, row]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
