"""libpq's connection service file: a section of keywords for each service.

https://www.postgresql.org/docs/current/libpq-pgservice.html

The file may contain passwords. Therefore errors show only its name and a line number.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.files import read_regular
from ..errors import ConfigError
from .keywords import KEYWORDS
from .paths import default_file, exists

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


#: The longest line that libpq reads, in bytes and with its end.
_LONGEST_LINE = 1022
_MAX_FILE = 1 << 22  # bytes
_SPACES = b" \t\n\v\f\r"
_SYSTEM_DIRECTORY = "/etc/postgresql-common"


def find_service(name: str, file: str | None, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the section `name` of the user's file, or else of the system's file.

    Args:
        name: The service.
        file: The file to read in place of ``~/.pg_service.conf``; it must exist.
        environ: The environment, for ``HOME`` and ``PGSYSCONFDIR``.

    Returns:
        The file's name, and keywords with their values.

    Raises:
        ConfigError: No file has such a service, or a file cannot be read or is malformed.
    """
    default = default_file(".pg_service.conf", ".pg_service.conf", environ)
    own = file if file is not None else str(default) if exists(default) else None
    system = Path(environ.get("PGSYSCONFDIR") or _SYSTEM_DIRECTORY, "pg_service.conf")
    files = [*([] if own is None else [own]), *([str(system)] if exists(system) else [])]
    for path in files:
        values = _section(path, name)
        if values is not None:
            return path, values
    searched = " and ".join(f'"{path}"' for path in files)
    raise ConfigError(
        f'definition of service "{name}" not found',
        remedy=f"Searched: {searched}. Check service (PGSERVICE), or set servicefile (PGSERVICEFILE)."
        if files
        else f'Neither "{default}" nor "{system}" exists. Set servicefile (PGSERVICEFILE).',
    )


def _section(path: str, name: str) -> dict[str, str] | None:
    """Return the keywords of the file's first section of that name; None if the file has no such section."""
    try:
        wanted = os.fsencode(f"[{name}]")  # surrogates may represent bytes of the file (PEP 383)
    except UnicodeEncodeError:
        raise ConfigError("service contains a lone surrogate", remedy="Write the service's name in UTF-8.") from None
    values: dict[str, str] | None = None
    for number, line in _lines(path):
        if line.startswith(b"["):
            if values is not None:
                break
            if line.startswith(wanted):  # libpq ignores the text after the bracket
                values = {}
        elif values is not None:
            keyword, value = _pair(line, f'service file "{path}", line {number}')
            values.setdefault(keyword, value)
    return values


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the text of each line that is neither blank nor a comment, without spaces around it."""
    try:
        data, _ = read_regular(path, _MAX_FILE)
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(
            f'service file "{path}" not found',
            remedy=f"{why}. Check servicefile (PGSERVICEFILE), or leave out service (PGSERVICE).",
        ) from None
    for number, raw in enumerate(io.BytesIO(data), 1):
        if len(raw) > _LONGEST_LINE:
            raise ConfigError(
                f'line {number} too long in service file "{path}"',
                remedy=f"libpq reads {_LONGEST_LINE} bytes of a line; put a long value into the connection string.",
            )
        line = raw.partition(b"\0")[0].strip(_SPACES)  # C strings end at a NUL
        if line and not line.startswith(b"#"):
            yield number, line


def _pair(line: bytes, where: str) -> tuple[str, str]:
    if line.startswith(b"ldap://"):
        raise ConfigError(f"LDAP is not supported in {where}", remedy="Write the parameters in place of the LDAP URL.")
    keyword, equals, value = os.fsdecode(line).partition("=")
    if equals and keyword == "service":
        raise ConfigError(
            f"nested service specifications not supported in {where}",
            remedy="Replace service= by the parameters of that service.",
        )
    if not equals or keyword not in KEYWORDS or not KEYWORDS[keyword].in_service_file:
        raise ConfigError(
            f"syntax error in {where}",
            remedy="Write each line as keyword=value with a known keyword, without spaces around the = or quotes.",
        )
    return keyword, value
