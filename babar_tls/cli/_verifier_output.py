"""Formats for verifiers, and an output file that is complete or does not exist."""

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

from ._errors import UsageError, file_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


#: The formats of `render`.
FORMATS = ("lines", "csv", "sql", "json")

_IN_MEMORY = 1 << 20  # bytes; more is written to an unnamed temporary file


def render(name: str, verifiers: Iterable[tuple[str | None, str]], facts: dict[str, object]) -> Iterator[str]:
    """Yield the text in one of `FORMATS`, piece by piece.

    Args:
        name: The format; ``sql`` and ``csv`` need roles.
        verifiers: Role and verifier.
        facts: Further contents of the JSON document.
    """
    if name == "json":
        yield from _json(verifiers, facts)
        return
    if name == "csv":
        yield "role,verifier\n"
    is_encoding_set = False
    for role, verifier in verifiers:
        if name == "lines" or role is None:
            yield f"{verifier}\n"
        elif name == "csv":
            yield _csv(role, verifier)
        else:
            if not (is_encoding_set or role.isascii()):
                is_encoding_set = True
                yield "SET client_encoding TO 'UTF8';\n"
            # PostgreSQL's lexical rules, §4.1.1: a quoted identifier may contain any character but NUL.
            identifier = role.replace('"', '""')
            yield f"ALTER ROLE \"{identifier}\" PASSWORD '{verifier}';\n"


def check_destination(path: str, *, force: bool) -> None:
    """Check that `path` can be written, before the verifiers are computed.

    Raises:
        UsageError: The file exists and `force` is not given, or it is not a regular file.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as exc:
        raise file_error(f"{path!r} cannot be written", exc) from exc
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path!r} exists and is not a regular file")
    if not force:
        raise _exists(path)


@contextmanager
def destination(path: str | None, *, force: bool) -> Iterator[BinaryIO]:
    """Open a file for writing; it gets its name when it is complete, and is removed after a failure.

    Args:
        path: The name; only the owner can read the file. `None` for standard output.
        force: Replace an existing file.

    Raises:
        ConfigError: The file cannot be written.
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
    # The name is chosen before the file is created, so that it is removed after an interrupt at any point.
    scratch = target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}")
    try:
        with open(scratch, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(scratch, path, force=force)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as exc:
        raise file_error(f"{path!r} cannot be written", exc) from exc
    finally:
        scratch.unlink(missing_ok=True)


def _publish(scratch: Path, path: str, *, force: bool) -> None:
    """Give the finished file its name; without `force`, only if the name is still free."""
    if not force:
        try:
            Path(path).hardlink_to(scratch)
            return
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            check_destination(path, force=False)
    scratch.replace(path)


def _exists(path: str) -> UsageError:
    return UsageError(f"{path!r} exists already", remedy="Use --force to replace it.")


def _json(verifiers: Iterable[tuple[str | None, str]], facts: dict[str, object]) -> Iterator[str]:
    """Yield one document, with one line for each verifier."""
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
