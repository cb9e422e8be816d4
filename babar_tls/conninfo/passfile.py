"""libpq's password file: passwords by host, port, database and user.

https://www.postgresql.org/docs/current/libpq-pgpass.html
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING, BinaryIO

from ..diagnostics.log import warn
from ..diagnostics.tracebacks import clears_locals
from .paths import SOCKET_DIRECTORIES

if TYPE_CHECKING:
    from collections.abc import Generator


#: Limits in bytes, which libpq does not have. They bound the memory and the time for a large file.
_MAX_FILE = 1 << 24
_LONGEST_LINE = 1 << 16


def is_open_to_others(mode: int) -> bool:
    """Return True if this mode gives the group or others access to a file. Only POSIX has such modes."""
    return os.name == "posix" and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


@clears_locals
def find_password(path: str, host: str, port: int, database: str, user: str) -> str | bytes | None:
    """Return the password of the first line that matches.

    As in libpq, a file that cannot be used is ignored. There is no warning if it does not exist or this user has no
    access. There is a warning if other users have access, if it is not a plain file, if it is too long or if reading it
    fails.

    Args:
        path: The file.
        host: The name of the host, its address if it has no name, or the directory of the socket. An entry for
            ``localhost`` matches a default socket directory too.
        port: The port.
        database: The database, never empty.
        user: The role to log in as.

    Returns:
        The password, as `bytes` if it is not UTF-8. None if no line matches, or if the line has no password.
    """
    hosts = {os.fsencode(host)} | ({b"localhost"} if host in SOCKET_DIRECTORIES else set())
    wanted = (hosts, {b"%d" % port}, {os.fsencode(database)}, {os.fsencode(user)})
    with contextlib.closing(_lines(path)) as lines:
        for line in lines:
            password = _match(line, wanted)
            if password is not None:
                try:
                    return password.decode() or None
                except UnicodeDecodeError:
                    return password
    return None


def _lines(path: str) -> Generator[bytes, None, None]:
    """Yield the lines that are not comments. The file may be large, so it is not read into memory."""
    file = _open(path)
    if file is None:
        return
    with file:
        left, continues = _MAX_FILE, False
        try:
            while line := file.readline(_LONGEST_LINE):
                left -= len(line)
                if left < 0:
                    warn(f'password file "{path}" has more than {_MAX_FILE} bytes: the rest is not used')
                    return
                is_part, continues = continues, not line.endswith(b"\n") and len(line) == _LONGEST_LINE
                if continues and not is_part:
                    warn(f'password file "{path}" has a line of more than {_LONGEST_LINE} bytes, which is not used')
                stripped = line.partition(b"\0")[0].rstrip(b"\r\n")  # C strings end at a NUL
                if stripped and not (is_part or continues or stripped.startswith(b"#")):
                    yield stripped
        except OSError as exc:
            warn(f'could not read password file "{path}": {exc.strerror or exc}')


def _open(path: str) -> BinaryIO | None:
    try:
        # Without O_NONBLOCK, opening a pipe waits for its other end.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (OSError, ValueError) as exc:
        warn(f'could not open password file "{path}": {getattr(exc, "strerror", None) or exc}')
        return None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            warn(f'password file "{path}" is not a plain file')
        elif is_open_to_others(mode):
            warn(
                f'password file "{path}" has group or world access; permissions should be u=rw (0600) or less: '
                "it is not used"
            )
        else:
            return os.fdopen(descriptor, "rb")
    except OSError as exc:
        warn(f'could not open password file "{path}": {exc.strerror or exc}')
    os.close(descriptor)
    return None


def _match(line: bytes, wanted: tuple[set[bytes], ...]) -> bytes | None:
    """Return the password of a line; None if its fields do not match."""
    position = 0
    for values in wanted:
        ends = [end for end in (_after(line, position, value) for value in values) if end is not None]
        if not ends:
            return None
        position = ends[0]
    return _unescape(line[position:])


def _unescape(field: bytes) -> bytes:
    """Return the text up to a colon without its backslashes. The last character may be a backslash."""
    text = re.match(rb"(?:\\.|[^:])*", field, re.DOTALL)
    return re.sub(rb"\\(.)", rb"\1", text[0], flags=re.DOTALL) if text else b""


def _after(line: bytes, position: int, value: bytes) -> int | None:
    """Return the position of the next field; None if this one is not `value`. As in libpq, it may have bare colons."""
    if line.startswith(b"*:", position):
        return position + 2
    for byte in value:
        position += line.startswith(b"\\", position)
        if line[position : position + 1] != bytes((byte,)):
            return None
        position += 1
    return position + 1 if line.startswith(b":", position) else None
