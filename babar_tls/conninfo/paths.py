"""libpq's default paths: files in the home directory and directories of Unix-domain sockets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


#: The directories that distributions compile into libpq. The original default ``/tmp`` is left out: every local user
#: can create a socket there and act as the server.
SOCKET_DIRECTORIES = ("/run/postgresql", "/var/run/postgresql")


def default_file(posix: str, windows: str, environ: Mapping[str, str]) -> Path | None:
    r"""Return the path of a default file, which need not exist.

    Args:
        posix: Its path under the home directory.
        windows: Its path under ``%APPDATA%\postgresql``.
        environ: The environment. Without ``HOME``, the home directory is that of the user database.

    Returns:
        The path; None if this user has no such directory.
    """
    if os.name == "nt":
        base = environ.get("APPDATA")
        return Path(base, "postgresql", windows) if base else None
    home = environ.get("HOME")
    if not home:
        try:
            import pwd  # noqa: PLC0415 - POSIX only

            home = pwd.getpwuid(os.getuid()).pw_dir
        except (ImportError, KeyError):  # in a container, the user may have no entry
            return None
    return Path(home, posix) if home else None


def exists(path: Path | None) -> bool:
    """Return True if a file exists and this user may access its directory."""
    try:
        return path is not None and path.exists()
    except (OSError, ValueError):
        return False
