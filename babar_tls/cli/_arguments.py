"""The grammar of the command line."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import NoReturn

from .. import __version__
from ._errors import UsageError

_COMMANDS = ("connect", "explain", "backends", "demo", "verifier", "bench")

_EPILOG = """\
examples:
  babar-tls demo
  babar-tls backends
  babar-tls connect "postgresql://app@db.example.com/billing?sslmode=verify-full"
  babar-tls connect "host=db.example.com user=app" --backend openssl --json

exit status:
  0    all is well
  1    unexpected failure, or the demo found something that is not as it should be
  2    wrong usage or configuration, or something is not installed
  3    network: no such host, nobody listening, timeout, connection lost
  4    TLS could not be established
  5    the server's certificate was not accepted
  6    authentication failed, channel binding included
  7    the server refused for another reason
  8    the other end does not speak PostgreSQL's protocol
  130  Ctrl-C
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _, is_choice, rest = message.partition("invalid choice: ")
        if not is_choice:
            raise UsageError(message, remedy=f"Try: {self.prog} --help")
        choice = rest.partition(" (choose from")[0].strip("'\"")
        # A connection string in the wrong place has a password in it, perhaps.
        what = f"unknown command {choice!r}" if choice.isalnum() else "a command is missing"
        raise UsageError(what, remedy=f"Commands: {', '.join(_COMMANDS)}. Try: {self.prog} --help")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; the result's `run` is to be called with the result.

    Raises:
        UsageError: It is wrong.
        SystemExit: ``--help`` or ``--version`` was asked for, and has been answered.
    """
    parser = _build()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise _unexpected(unknown)
    if options.command is None:
        raise UsageError(
            "which command?", remedy=f"Commands: {', '.join(_COMMANDS)}. Try: babar-tls --help, or babar-tls demo"
        )
    return options


def _build() -> _Parser:
    layout = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="babar-tls",
        description="PostgreSQL connections: TLS, verification and channel-bound SCRAM on an engine of your choice.",
        epilog=_EPILOG,
        formatter_class=layout,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"babar-tls {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name in _COMMANDS:
        module = import_module(f".{name}", __package__)
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=layout,
            allow_abbrev=False,
        )
        module.configure(command)
        if not getattr(module, "OWN_JSON", False):
            command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
        command.set_defaults(run=module.run)
    return parser


def _unexpected(unknown: list[str]) -> UsageError:
    """The error for arguments that nobody wants; it names options alone, because a value may be a password."""
    # Of a short option the letter alone: what is stuck to it may be a password.
    words = [word.partition("=")[0] for word in unknown if word.startswith("-")]
    options = [word if word.startswith("--") else word[:2] for word in words]
    if options:
        return UsageError(f"unknown option: {', '.join(options)}", remedy="Try: babar-tls --help")
    return UsageError(
        "too many arguments",
        remedy='A connection string is one argument: quote it, as in "host=db.example.com user=app".',
    )
