"""The command ``babar-tls``.

Every command that has a result has ``--json``. Standard output is then one JSON document; an error is the document
``{"error": {"class": …, "message": …, "remedy": …, "exit_status": …}}``. `_errors.EXIT_STATUSES` has the exit statuses.

Importing this package imports neither a TLS backend nor rich. The command that uses them imports them. rich is
optional: without it, the commands print plain text (`_terminal`).
"""

from __future__ import annotations

import codecs
import errno
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

from ..errors import Error
from ._errors import INTERRUPTED, READER_GONE, UNEXPECTED, describe, error_document, exit_status

if TYPE_CHECKING:
    from collections.abc import Sequence


#: The errors of a file system or a device that cannot store the output.
_WRITE_FAILURES = {errno.ENOSPC, errno.EIO, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_REPLACE = "babar_tls.replace"
#: ASCII for characters of the output.
_SPELLINGS = {"…": "...", "—": "-", "→": "->", "≥": ">=", "≤": "<=", "µ": "u", "\u00a0": " "}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments, by default those of the process.

    Returns:
        The exit status.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the process was started without it: >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - it stays open
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        if argv is None:
            # The process ends now. Another Ctrl-C would change its exit status.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return READER_GONE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _WRITE_FAILURES and not isinstance(error, Error):
            _silence_stdout()
            print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
            return UNEXPECTED
        if not isinstance(error, Error):
            traceback.print_exc()
        return _report(error, as_json="--json" in arguments)


def _run(arguments: list[str]) -> int:
    from ._arguments import parse  # noqa: PLC0415 - imports argparse and the commands

    codecs.register_error(_REPLACE, _replace)
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is replaced instead of an exception.
        getattr(stream, "reconfigure", lambda **_: None)(errors=_REPLACE)
    try:
        options = parse(arguments)
        status: int = options.run(options)
    except SystemExit as exc:  # argparse has printed the help or the version
        status = int(exc.code or 0)
    sys.stdout.flush()
    return status


def _report(error: Exception, *, as_json: bool) -> int:
    try:
        if as_json:
            from ._output import print_json  # noqa: PLC0415 - imports json

            print_json({"error": error_document(error)})
        elif isinstance(error, Error):
            has_colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
            print(describe(error, colour=has_colour), file=sys.stderr)
        sys.stdout.flush()
    except OSError:  # standard output cannot be written; the status of the error tells more
        _silence_stdout()
    return exit_status(error)


def _silence_stdout() -> None:
    """Redirect standard output to the null device, because the flush at exit would fail again."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return  # not a file: nothing is flushed at exit
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, descriptor)
    os.close(null_device)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement of characters that an encoding lacks (`codecs.register_error`)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_SPELLINGS.get(char, "?") for char in lacking), error.end
