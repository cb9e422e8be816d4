"""Where libpq looks without being told: the home directory's files and the directories of Unix-domain sockets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


#: The directories that distributions' builds of libpq have compiled in. Not ``/tmp``, the original's: there anybody
#: could play the server, and over a socket it would be believed.
SOCKET_DIRECTORIES = ("/run/postgresql", "/var/run/postgresql")


def home(environ: Mapping[str, str]) -> Path | None:
    """The home directory: ``$HOME``, else what the system knows of this user; `None` where there is none."""
    if environ.get("HOME"):
        return Path(environ["HOME"])
    try:
        import pwd  # noqa: PLC0415 - POSIX only

        directory = pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError):  # a user without a name, as containers have them
        return None
    return Path(directory) if directory else None


def default_file(posix: str, windows: str, environ: Mapping[str, str]) -> Path | None:
    r"""A file of this user: `posix` under the home directory, `windows` under ``%APPDATA%\postgresql``.

    `None` where there is no such directory; whether the file exists is another question.
    """
    if os.name == "nt":
        base = environ.get("APPDATA")
        return Path(base, "postgresql", windows) if base else None
    directory = home(environ)
    return None if directory is None else directory / posix


def exists(path: Path | None) -> bool:
    """Is there such a file? One in a folder that we may not look into is none."""
    try:
        return path is not None and path.exists()
    except (OSError, ValueError):
        return False
