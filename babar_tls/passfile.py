"""libpq's password file: passwords by host, port, database and user.

https://www.postgresql.org/docs/current/libpq-pgpass.html
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from .conninfo.places import SOCKET_DIRECTORIES
from .telemetry import warn
from .tracebacks import clears_locals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .config import Config

__all__ = ["find_password", "is_open_to_others", "password_for"]


def is_open_to_others(mode: int) -> bool:
    """Does a file of this mode give the group or the world access? Only POSIX's modes say so."""
    return os.name == "posix" and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


@clears_locals
def password_for(config: Config) -> str | bytes | None:
    """The password that `Config.passfile` has for the one host of this configuration (`Config.at`).

    `None` where there is no file, or where it has no password for this connection.
    """
    if config.passfile is None:
        return None
    return find_password(config.passfile, config.host, config.port, config.database or config.user, config.user)


@clears_locals
def find_password(path: str, host: str, port: int, database: str, user: str) -> str | bytes | None:
    """The password of the first line that matches.

    A file that others may read is not used, and a warning says so, nor is one that is no plain file; one that is not
    there, or that we may not read, has no passwords.

    Args:
        path: The file.
        host: The name of the host, its address where there is no name, or the directory of the socket. A default
            directory of sockets is matched by ``localhost`` too.
        port: The port.
        database: The database, never empty.
        user: The role to log in as.

    Returns:
        The password, as `bytes` where it is not UTF-8. `None` where no line matches, or the one that does has none.
    """
    hosts = {os.fsencode(host)} | ({b"localhost"} if host in SOCKET_DIRECTORIES else set())
    wanted = (hosts, {b"%d" % port}, {os.fsencode(database)}, {os.fsencode(user)})
    for line in _lines(path):
        password = _match(line, wanted)
        if password is not None:
            return _as_text(password) or None
    return None


def _lines(path: str) -> Iterator[bytes]:
    content = _read(path)
    for line in content.split(b"\n"):
        stripped = line.rstrip(b"\r")
        if stripped and not stripped.startswith(b"#"):
            yield stripped


def _read(path: str) -> bytes:
    try:
        # Without O_NONBLOCK the open of a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return b""
    if not _is_usable(path, os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _is_usable(path: str, mode: int) -> bool:
    if not stat.S_ISREG(mode):
        warn(f'password file "{path}" is not a plain file')
        return False
    if is_open_to_others(mode):
        warn(
            f'password file "{path}" has group or world access; permissions should be u=rw (0600) or less: '
            "it is not used"
        )
        return False
    return True


def _match(line: bytes, wanted: tuple[set[bytes], ...]) -> bytes | None:
    """The password of a line whose fields match, `None` where they do not."""
    position = 0
    for values in wanted:
        ends = [end for end in (_after(line, position, value) for value in values) if end is not None]
        if not ends:
            return None
        position = ends[0]
    return _unescape(line[position:])


def _after(line: bytes, position: int, value: bytes) -> int | None:
    """Where the next field begins, if this one is `value`. As in libpq, a colon in `value` needs no backslash."""
    if line.startswith(b"*:", position):
        return position + 2
    for byte in value:
        position += line.startswith(b"\\", position)
        if line[position : position + 1] != bytes((byte,)):
            return None
        position += 1
    return position + 1 if line.startswith(b":", position) else None


def _unescape(field: bytes) -> bytes:
    """What stands there up to a colon, without its backslashes; the last character may be one."""
    text = re.match(rb"(?:\\.|[^:])*", field, re.DOTALL)
    return re.sub(rb"\\(.)", rb"\1", text[0], flags=re.DOTALL) if text else b""


def _as_text(password: bytes) -> str | bytes:
    try:
        return password.decode()
    except UnicodeDecodeError:
        return password
