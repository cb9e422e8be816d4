"""The command ``babar-tls``: connect and see what is proven, list the TLS engines, watch a demonstration.

Every command takes ``--json`` and then prints one JSON document and nothing else on standard output, errors included:
``{"error": {"class": …, "message": …, "remedy": …, "exit_status": …}}``. Exit statuses mean something:

======  ================================================================================================
status  meaning
======  ================================================================================================
0       all is well
1       an unexpected failure; in ``demo``, something was not as it should be
2       wrong usage or configuration, or something is not installed
3       the network: no such host, nobody listening, time ran out, the connection broke
4       TLS could not be established: the server has none, or there is no common ground
5       the server's certificate was not accepted
6       authentication failed, channel binding included
7       the server said no for another reason: no such database, too many connections, a failing query
8       the other end does not speak PostgreSQL's protocol
130     Ctrl-C
141     whoever read the output went away
======  ================================================================================================

Importing this package loads neither a TLS engine nor rich; the command that needs them does.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

from ..errors import Error
from ._errors import INTERRUPTED, READER_GONE, UNEXPECTED, describe, error_document, exit_status

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Its arguments, by default those of the process.

    Returns:
        The exit status; see the table above.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        if argv is None:
            # The process is about to end anyhow: another Ctrl-C would only spoil its exit status.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return READER_GONE
    except Error as error:
        return _report(error, as_json=as_json)
    except Exception as error:
        traceback.print_exc()
        return _report(error, as_json=as_json)


def _run(arguments: list[str]) -> int:
    from ._arguments import parse  # noqa: PLC0415 - argparse is not needed to import this package

    for stream in (sys.stdout, sys.stderr):
        # A terminal without a character for something gets a question mark, not a traceback.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    try:
        options = parse(arguments)
    except SystemExit as exc:  # argparse has printed what --help and --version ask for
        return int(exc.code or 0)
    status: int = options.run(options)
    sys.stdout.flush()
    return status


def _report(error: Exception, *, as_json: bool) -> int:
    status = exit_status(error)
    try:
        if as_json:
            from ._output import print_json  # noqa: PLC0415 - on this path alone

            print_json({"error": error_document(error)})
        elif status != UNEXPECTED or isinstance(error, Error):
            print(describe(error, colour=_wants_colour()), file=sys.stderr)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
    return status


def _wants_colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere: the reader is gone, and Python would complain about it."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return  # not a file: nothing is flushed at exit
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
