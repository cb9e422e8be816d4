"""``babar-tls connect``: connect, and see what was negotiated and what is proven."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import require_rich
from ._text import milliseconds, print_json
from ._words import binding, verification, warnings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from rich.table import Table

    from ..config import Config
    from ..protocol.query import Row
    from ..session import Session
    from ._terminal import Terminal

HELP = "connect to a server; show what was negotiated, what is proven and where the time went"
DESCRIPTION = "Connect to a server and show what was negotiated, what is proven, and where the time went."
EPILOG = """\
CONNINFO is a libpq connection string, quoted as one argument: a URI or keywords. Without sslmode, TLS is required
and the certificate is verified.

examples:
  babar-tls connect "postgresql://app@db.example.com/billing?sslmode=verify-full"
  babar-tls connect "host=10.0.0.7 user=app" --server-name db.example.com --root-cert ca.pem
  babar-tls connect "host=db.example.com user=app" --password-file ~/.app-password
  babar-tls connect "host=db.example.com user=app" --query "select now()" --json
"""

_BAR_WIDTH = 48  # columns, where there are so many


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments."""
    parser.add_argument("conninfo", metavar="CONNINFO", nargs="?", default="", help="where to connect, and as whom")
    parser.add_argument("--backend", metavar="NAME", help="TLS engine (babar-tls backends lists them)")
    parser.add_argument("--root-cert", metavar="PATH", help="trust the authorities in this PEM file, and no others")
    parser.add_argument("--server-name", metavar="NAME", help="the name that the certificate must have")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, help="for everything up to the ready session")
    parser.add_argument("--password-file", metavar="PATH", help="its first line is the password; - for standard input")
    parser.add_argument("--query", metavar="SQL", help="run this then, and show its rows")


def run(options: argparse.Namespace) -> int:
    """Connect and show."""
    if not options.json:
        require_rich()
    from ..session import Session  # noqa: PLC0415 - the rest of the library, which --help does not need

    config = _config(options)
    with Session.connect(config) as session:
        rows = session.query(options.query) if options.query is not None else None
        if options.json:
            print_json(_document(config, session, rows))
        else:
            _draw(config, session, rows)
    return 0


def _config(options: argparse.Namespace) -> Config:
    from ..config import Config  # noqa: PLC0415 - as above

    overrides: dict[str, Any] = {
        "tls_backend": options.backend,
        "tls_root_cert_path": options.root_cert,
        "tls_server_name": options.server_name,
        "connect_timeout": options.timeout,
    }
    if options.password_file is not None:
        overrides["password"] = _read_password(options.password_file)
    overrides = {name: value for name, value in overrides.items() if value is not None}
    return Config.from_conninfo(options.conninfo, **overrides)


def _read_password(path: str) -> bytes:
    """The first line of a file, which is no secret of the process list as an argument would be.

    Raises:
        ConfigError: It cannot be read, or is empty.
    """
    from ..errors import ConfigError  # noqa: PLC0415 - as above

    try:
        with sys.stdin.buffer if path == "-" else Path(path).open("rb") as file:
            password = file.readline().rstrip(b"\r\n")
    except OSError as exc:
        raise ConfigError(f'could not read password file "{path}": {exc.strerror}') from exc
    if not password:
        raise ConfigError(f'password file "{path}" has no first line')
    return password


def _document(config: Config, session: Session, rows: list[Row] | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "host": session.host.host,
        "port": session.host.port,
        "user": config.user,
        "database": config.database or config.user,
        "parameters": dict(session.params),
        "security": {**session.security.as_dict(), "channel_bound": session.security.channel_bound},
        "warnings": warnings(session.security, local=session.host.is_unix_socket),
    }
    return document if rows is None else {**document, "rows": rows}


def _draw(config: Config, session: Session, rows: list[Row] | None) -> None:
    from ._terminal import terminal  # noqa: PLC0415 - optional

    console = terminal()
    console.print(_facts(console, config, session))
    console.print(_phases(console, session.security.timings))
    for text in warnings(session.security, local=session.host.is_unix_socket):
        console.print(console.cell(f"! {text}", "yellow"))
    if rows is not None:
        console.print(_rows(console, rows))


def _facts(console: Terminal, config: Config, session: Session) -> Table:
    from rich.table import Table  # noqa: PLC0415 - optional

    from ._terminal import HEADING  # noqa: PLC0415

    security = session.security
    host = session.host
    where = host.host if host.is_unix_socket else f"{host.host}, port {host.port}"
    title = console.cell(f"{config.user} on {where}")
    table = Table(box=console.outline, show_header=False, title=title, title_justify="left", title_style="bold")
    table.add_column(style=HEADING, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Server", console.cell(f"PostgreSQL {session.params.get('server_version', '(version not told)')}"))
    if security.tls:
        group = security.group or "not told by this engine"
        table.add_row("TLS", console.verdict(True, f"{security.tls_version}, {security.cipher}"))
        table.add_row("Key exchange", console.cell(group, "" if security.group else "dim"))
        table.add_row("ALPN", console.cell(security.alpn or "none"))
        table.add_row("Engine", console.cell(f"{security.backend} ({security.backend_version})"))
        table.add_row("Verification", console.verdict(security.verified == "full", verification(security)))
        if security.trusted_roots:
            anchors = "" if security.trusted_anchors is None else f" ({security.trusted_anchors} certificates)"
            table.add_row("Roots", console.cell(", ".join(security.trusted_roots) + anchors))
        table.add_row("Certificate", console.cell(f"SHA-256 {security.peer_fingerprint_sha256}"))
    else:
        table.add_row(
            "TLS",
            console.verdict(host.is_unix_socket, "none, on a local socket" if host.is_unix_socket else "none"),
        )
    strong = security.auth_method.startswith("scram")
    table.add_row("Authentication", console.verdict(strong, security.auth_method.upper()))
    if security.server_authenticated:
        table.add_row("Server's proof", console.verdict(True, "it knows the password's verifier"))
    if security.tls:
        table.add_row("Channel binding", console.verdict(security.channel_bound, binding(security)))
    if security.scram_iterations is not None:
        table.add_row("Iterations", console.cell(f"{security.scram_iterations} of PBKDF2"))
    table.add_row("Round trips", console.cell(security.round_trips))
    return table


def _phases(console: Terminal, timings: Mapping[str, float]) -> Table:
    """Where the time went, as bars one after the other."""
    from rich.table import Table  # noqa: PLC0415 - optional

    from ._terminal import HEADING  # noqa: PLC0415

    width = max(10, min(_BAR_WIDTH, console.width - 36))
    total = sum(timings.values()) or 1.0
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=HEADING, no_wrap=True, min_width=17)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    elapsed = 0.0
    for phase, seconds in timings.items():
        bar = console.bar(elapsed / total, seconds / total, width=width)
        table.add_row(console.cell(f"  {phase}"), console.cell(milliseconds(seconds)), bar)
        elapsed += seconds
    table.add_row("  total", console.cell(milliseconds(elapsed), "bold"))
    return table


def _rows(console: Terminal, rows: list[Row]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - optional

    count = f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
    table = Table(box=console.outline, show_header=False, title=count, title_justify="left", title_style="bold")
    for row in rows:
        cells = [console.cell("NULL", "dim") if value is None else console.cell(value) for value in row]
        table.add_row(*cells)
    return table
