"""``babar-tls connect``: connect to a server, show what was negotiated and what was verified."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..diagnostics.counts import count
from ..diagnostics.escaping import visible
from ._connection_options import add_connection_options, overrides
from ._output import milliseconds, print_json, without_weakness_warnings
from ._verbose import verbose

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from ..config import Config
    from ..protocol.query import Row
    from ..session import Session
    from ._terminal import Terminal

HELP = "connect to a server; show what was negotiated and verified, and how long it took"
DESCRIPTION = """\
Connect to a PostgreSQL server. Show the TLS version and cipher, what was verified of the server, how the client
authenticated, how long each step took, and what is weak in the connection."""
EPILOG = """\
CONNINFO is a URI or a keyword string, in the syntax of PostgreSQL's libpq. Quote it as one argument. Without sslmode,
TLS is required and the server's certificate is verified. Other users of this machine can read command lines: pass a
password in a file or in PGPASSWORD. If the server requires a password and none is configured, this command asks for it
at the terminal, but not with --json.

examples:
  babar-tls connect "postgresql://app@db.example.com/shop?sslmode=verify-full"
  babar-tls connect host=10.0.0.7 --server-name db.example --root-cert ca.pem
  babar-tls connect "host=db.example.com user=app" --password-file ~/.shop
  babar-tls connect "host=db.example.com user=app" --query "select now()" --json
"""

_PASSWORD_HELP = "Use --password-file, PGPASSWORD, or ~/.pgpass (libpq's password file)."  # noqa: S105 - a remedy
_BAR_WIDTH = 48  # columns, if the terminal is wide enough


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to the parser."""
    add_connection_options(parser, backend="TLS backend to use", timeout="time limit for the whole connect")
    parser.add_argument("-w", "--no-password", action="store_true", help="never ask for a password")
    parser.add_argument("--verbose", action="store_true", help="show each step on standard error as it happens")
    parser.add_argument("--query", metavar="SQL", help="run this statement and show its rows")


@without_weakness_warnings()
def run(options: argparse.Namespace) -> int:
    """Connect, then show the connection."""
    from ..explain.connection import connection_warnings  # noqa: PLC0415 - slow to import, not needed for --help

    config = _config(options)
    _import_for_connect(config)
    with verbose(options.verbose), _name_options(options), _connect(options, config) as session:
        rows = session.query(options.query) if options.query is not None else None
        warnings = connection_warnings(session.security, local=session.host.is_unix_socket)
        if options.json:
            print_json(_document(config, session, warnings, rows))
        else:
            _draw(config, session, warnings, rows)
    return 0


@contextmanager
def _name_options(options: argparse.Namespace) -> Iterator[None]:
    """Name the option instead of the parameter in the remedy of a wrong name, if the option sets it."""
    from ..errors import CertificateError  # noqa: PLC0415 - as in `run`

    try:
        yield
    except CertificateError as error:
        if error.reason in ("hostname-mismatch", "common-name-only") and options.server_name is not None:
            error.remedy = (
                "Set --server-name to a name that is in the certificate, or leave it out to verify the host. Otherwise "
                "this is another server."
            )
        elif error.remedy is not None:
            error.remedy = error.remedy.replace("set tls_server_name to", "set --server-name (tls_server_name) to")
        raise


def _import_for_connect(config: Config) -> None:
    """Import before the clock of the connect starts, so that no phase includes the time of an import."""
    import encodings.idna  # noqa: F401, PLC0415 - what the socket module imports at the first use of a name

    from ..backends import get_backend  # noqa: PLC0415 - as in `run`
    from ..explain.weaknesses import has_tls  # noqa: PLC0415 - as in `run`

    if has_tls(config):
        get_backend(config.tls_backend)


def _connect(options: argparse.Namespace, config: Config) -> Session:
    """Connect; if the server requires a password and none is configured, ask for it and connect again.

    Raises:
        PasswordMissing: The password may not be asked for.
        Error: The connect failed.
    """
    from ..errors import PasswordMissing  # noqa: PLC0415 - as in `run`
    from ..session import Session  # noqa: PLC0415 - as in `run`
    from ._password_input import type_password  # noqa: PLC0415 - as in `run`

    try:
        return Session.connect(config)
    except PasswordMissing as error:
        if not _may_ask(options):
            error.remedy = f"The server requires a password. {_PASSWORD_HELP}"
            raise
    password = type_password(f"Password for user {visible(config.user)}: ", _PASSWORD_HELP)
    return Session.connect(config.replace(password=password))


def _may_ask(options: argparse.Namespace) -> bool:
    """Return True if a password may be asked for: only a person at a terminal can answer."""
    if options.json or options.no_password or options.password_file is not None:
        return False
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def _config(options: argparse.Namespace) -> Config:
    from ..config import Config  # noqa: PLC0415 - as in `run`

    return Config.from_conninfo(options.conninfo, **overrides(options))


def _document(config: Config, session: Session, warnings: list[str], rows: list[Row] | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "host": session.host.host,
        "port": session.host.port,
        "user": config.user,
        "database": config.database or config.user,
        "parameters": dict(session.params),
        "security": {**session.security.as_dict(), "channel_bound": session.security.channel_bound},
        "warnings": warnings,
    }
    return document if rows is None else {**document, "rows": rows}


def _draw(config: Config, session: Session, warnings: list[str], rows: list[Row] | None) -> None:
    from ._terminal import terminal  # noqa: PLC0415 - as in `run`

    console = terminal()
    host = session.host
    place = host.host if host.is_unix_socket else f"{host.host}, port {host.port}"
    console.print(console.facts(_facts(console, session), f"{config.user} on {place}"))
    _draw_phases(console, session.security.timings)
    for text in warnings:
        console.warning(text)
    if rows is not None:
        cells = [[console.cell("(null)", "dim") if value is None else value for value in row] for row in rows]
        console.print(console.table(cells, title=count(len(rows), "row")))


def _facts(console: Terminal, session: Session) -> Iterator[tuple[str, object]]:
    from ..explain.connection import describe_binding, describe_verification  # noqa: PLC0415 - as in `run`

    security, local = session.security, session.host.is_unix_socket
    yield "Server", f"PostgreSQL {session.params.get('server_version', '(version not reported)')}"
    if security.tls:
        yield "TLS", console.verdict(True, f"{security.tls_version}, {security.cipher}")
        yield "Key exchange", security.group or console.cell("not reported by this backend", "dim")
        yield "ALPN", security.alpn or "none"
        yield "Backend", f"{security.backend} ({security.backend_version})"
        yield "Verification", console.verdict(security.verified == "full", describe_verification(security))
        if security.trusted_roots:
            anchors = "" if security.trusted_anchors is None else f" ({count(security.trusted_anchors, 'certificate')})"
            yield "Trusted roots", ", ".join(security.trusted_roots) + anchors
        yield "Certificate", f"SHA-256 {security.peer_fingerprint_sha256}"
    else:
        yield "TLS", console.verdict(local, "none, on a local socket" if local else "none")
    yield "Authentication", console.verdict(security.auth_method.startswith("scram"), security.auth_method.upper())
    if security.server_authenticated:
        yield "Server's proof", console.verdict(True, "the server has the verifier of the password")
    if security.tls:
        yield "Channel binding", console.verdict(security.channel_bound, describe_binding(security))
    if security.scram_iterations is not None:
        yield "Iterations", f"{security.scram_iterations} of PBKDF2"
    yield "Round trips", security.round_trips


def _draw_phases(console: Terminal, timings: Mapping[str, float]) -> None:
    """Print the time of each phase, with bars that follow one another."""
    width = max(10, min(_BAR_WIDTH, console.width - 36))
    total = sum(timings.values())
    elapsed = 0.0
    rows: list[tuple[str, object, object]] = []
    for phase, seconds in timings.items():
        bar = console.bar(elapsed / (total or 1.0), seconds / (total or 1.0), width=width)
        rows.append((phase, milliseconds(seconds), bar))
        elapsed += seconds
    rows.append(("total", console.cell(milliseconds(total), "bold"), ""))
    console.print(console.facts(rows, right={1}, frame=False))
