"""Where verifiers go: a format, and a file that is there whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ..errors import ConfigError
from ._errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


#: What `render` knows.
FORMATS = ("lines", "csv", "sql", "json")

_IN_MEMORY = 1 << 20  # bytes; what is more waits in a temporary file without a name
_FORCE = "--force replaces it."


def render(name: str, verifiers: Iterable[tuple[str | None, str]], facts: dict[str, object]) -> Iterator[str]:
    """Text in one of `FORMATS`, piece by piece.

    Args:
        name: The format; ``sql`` and ``csv`` need roles.
        verifiers: Role and verifier.
        facts: What the JSON document says beside them.
    """
    if name == "json":
        yield from _json(verifiers, facts)
        return
    if name == "csv":
        yield "role,verifier\n"
    encoding_told = False
    for role, verifier in verifiers:
        if name == "lines" or role is None:
            yield f"{verifier}\n"
        elif name == "csv":
            yield _csv(role, verifier)
        else:
            if not (encoding_told or role.isascii()):
                encoding_told = True
                yield "SET client_encoding TO 'UTF8';\n"
            yield f"ALTER ROLE {_identifier(role)} PASSWORD '{verifier}';\n"


def check_destination(path: str, *, force: bool) -> None:
    """Find out before the work is done that it would be for nothing.

    Raises:
        UsageError: There is such a file, and `force` is not given; or it is no ordinary file.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as exc:
        raise _unwritable(path, exc) from exc
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path!r} exists and is no ordinary file")
    if not force:
        raise _exists(path)


@contextmanager
def destination(path: str | None, *, force: bool) -> Iterator[BinaryIO]:
    """A file to write to, of which nothing is seen before it is complete, and nothing at all after a failure.

    Args:
        path: Its name; it will be readable by its owner alone. `None` for standard output.
        force: Replace a file of that name.

    Raises:
        ConfigError: It cannot be written.
    """
    if path is None:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
            yield cast("BinaryIO", spool)
            spool.seek(0)
            sys.stdout.flush()
            shutil.copyfileobj(spool, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return
    check_destination(path, force=force)
    target = Path(path)
    # Named before it is made, so that an interruption at any point finds it.
    scratch = target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}")
    try:
        with open(scratch, "xb", opener=_private) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(scratch, path, force=force)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as exc:
        raise _unwritable(path, exc) from exc
    finally:
        scratch.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _publish(scratch: Path, path: str, *, force: bool) -> None:
    """Give the finished file its name; without `force`, only if nothing has taken that meanwhile."""
    if force:
        scratch.replace(path)
        return
    try:
        Path(path).hardlink_to(scratch)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        check_destination(path, force=False)
        scratch.replace(path)


def _exists(path: str) -> UsageError:
    return UsageError(f"{path!r} exists already", remedy=_FORCE)


def _unwritable(path: str, exc: Exception) -> ConfigError:
    return ConfigError(f"{path!r} cannot be written: {getattr(exc, 'strerror', None) or 'not a name'}")


def _json(verifiers: Iterable[tuple[str | None, str]], facts: dict[str, object]) -> Iterator[str]:
    """One document, its list of verifiers an entry a line."""
    yield json.dumps(facts)[:-1] + ', "verifiers": ['
    separator = "\n"
    for role, verifier in verifiers:
        entry = {"verifier": verifier} if role is None else {"role": role, "verifier": verifier}
        yield f"{separator}  {json.dumps(entry)}"
        separator = ",\n"
    yield "\n]}\n"


def _csv(*fields: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(fields)
    return line.getvalue()


def _identifier(name: str) -> str:
    """PostgreSQL's lexical rules, §4.1.1: a quoted identifier may hold anything but NUL."""
    return '"' + name.replace('"', '""') + '"'
