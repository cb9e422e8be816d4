"""``babar-tls demo``: a real server, connections with every backend, and three refusals."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

from .. import __version__
from ._errors import UNEXPECTED, error_document, extra_needed
from ._interrupts import Interrupts
from ._output import print_json

if TYPE_CHECKING:
    import argparse

    from ._demo_experiments import Connection, Demonstration
    from ._demo_tables import DemoTables

HELP = "start a temporary PostgreSQL server, connect with every backend, and show three refusals"
DESCRIPTION = """\
Start a real PostgreSQL server in a temporary folder. Connect to it with every TLS backend that is installed, and
compare what client and server report. Then show three refusals: of a wrong CA, of a wrong name, and of a man in the
middle. At the end the server and its files are removed."""
EPILOG = """\
Required packages: pip install 'babar-tls[demo]'. The exit status is 1 if a result is not as expected."""

_EXPERIMENTS = (("Connecting", "connect"), ("Measuring", "measure"), ("Testing refusals", "refuse"))


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: this command has none."""


def run(options: argparse.Namespace) -> int:
    """Run the demonstration; return 0 if every result is as expected."""
    tables = None if options.json else _tables()
    working = tables.working if tables else nullcontext
    with Interrupts() as interrupts, ExitStack() as stack:
        with extra_needed("the demo"), working("Starting a PostgreSQL server"):
            from ._demo_experiments import Demonstration  # noqa: PLC0415 - imports packages of the extra

            demo = Demonstration(stack, interrupts)
            demo.start()
        if tables:
            tables.start(demo)
        for text, experiment in _EXPERIMENTS:
            with working(text):
                getattr(demo, experiment)()
            if tables:
                getattr(tables, experiment)(demo)
    if tables:
        tables.end(demo)
    else:
        print_json(_document(demo))
    return UNEXPECTED if demo.failures else 0


def _tables() -> DemoTables:
    with extra_needed("the demo"):
        from ._demo_tables import DemoTables  # noqa: PLC0415 - imports packages of the extra

        return DemoTables()


def _document(demo: Demonstration) -> dict[str, Any]:
    server = demo.server
    return {
        "ok": not demo.failures,
        "failures": demo.failures,
        "babar_tls": __version__,
        "server": {"version": server.version, "port": server.port, "start_seconds": round(demo.start_seconds, 3)},
        "connections": [_connection(item) for item in demo.connections],
        "timings": {
            "statistic": "median seconds, a short and noisy measurement",
            "cases": [item._asdict() for item in demo.timings],
        },
        "refusals": [
            {
                "name": item.name,
                "backend": item.backend,
                "refused": item.happened,
                "error": item.error and error_document(item.error),
            }
            for item in demo.refusals
        ],
        "without_channel_binding": demo.interception and demo.interception._asdict(),
    }


def _connection(item: Connection) -> dict[str, Any]:
    security = item.security
    return {
        "backend": item.backend,
        "style": item.style,
        "agrees": item.agrees,
        "security": security and {**security.as_dict(), "channel_bound": security.channel_bound},
        "server_says": item.server and item.server._asdict(),
        "error": item.error and error_document(item.error),
    }
