"""The command ``babar-tls``.

Every command that has a result has ``--json``. Standard output is then one JSON document; an error is the document
``{"error": {"class": …, "message": …, "remedy": …, "exit_status": …}}``. `_errors.EXIT_STATUSES` has the exit statuses.

Importing this package imports neither a TLS backend nor rich. The command that uses them imports them. rich is
optional: without it, the commands print plain text (`_terminal`).
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

from ..errors import Error
from ._errors import INTERRUPTED, READER_GONE, describe, error_document, exit_status

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments, by default those of the process.

    Returns:
        The exit status.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        if argv is None:
            # The process ends now. Another Ctrl-C would change its exit status.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return _silence_stdout()
    except Exception as error:
        if not isinstance(error, Error):
            traceback.print_exc()
        return _report(error, as_json="--json" in arguments)


def _run(arguments: list[str]) -> int:
    from ._arguments import parse  # noqa: PLC0415 - imports argparse and the commands

    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks becomes a question mark instead of an exception.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    try:
        options = parse(arguments)
    except SystemExit as exc:  # argparse has printed the help or the version
        return int(exc.code or 0)
    status: int = options.run(options)
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
    except BrokenPipeError:
        _silence_stdout()
    return exit_status(error)


def _silence_stdout() -> int:
    """Redirect standard output to the null device, because the flush at exit would fail on the closed pipe."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return READER_GONE  # not a file: nothing is flushed at exit
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, descriptor)
    os.close(null_device)
    return READER_GONE
