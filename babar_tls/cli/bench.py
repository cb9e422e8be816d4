"""``babar-tls bench``: measure this library, its TLS backends and other drivers on this machine."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import UsageError, extra_needed, file_error
from ._interrupts import Interrupts
from ._output import print_json
from ._progress import progress_bar

if TYPE_CHECKING:
    from ..bench.workload import Workload

HELP = "measure the TLS backends and other drivers on this machine"
DESCRIPTION = """\
Run a benchmark on this machine with every installed TLS backend and driver. All are measured in turns, in one run.
Percentiles and CPU time show how much other processes have disturbed it. The server is an embedded PostgreSQL (needs
babar-tls[demo]) or the server of --dsn."""
EPILOG = ""
_EXAMPLES = """\

examples:
  babar-tls bench all
  babar-tls bench connect --rtt 1,10,50 --json connect.json --plot pictures
  babar-tls bench connect --compare connect.json
  babar-tls bench connect --from connect.json --markdown docs/performance.md
  babar-tls bench storm --dsn "postgresql://app@db.example.com/billing"
  babar-tls bench connect --through pgbouncer
"""

#: ``--json`` of this command accepts a file name.
OWN_JSON = True

_MAX_RTT = 10_000  # milliseconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments, which include the options of every workload."""
    workloads = _workloads()
    lines = [f"  {workload.name:11} {workload.summary}" for workload in workloads.values()]
    parser.epilog = "\n".join(["workloads:", *lines, _EXAMPLES])
    parser.add_argument("workload", metavar="WORKLOAD", nargs="?", help=f"one of: {', '.join(workloads)}")
    number: dict[str, Any] = {"metavar": "N", "type": _positive}
    delays: dict[str, Any] = {"metavar": "MS,…", "type": _delays, "default": ()}
    parser.add_argument("--rounds", **number, help="number of rounds, each of which measures all")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--dsn", metavar="CONNINFO", help="another server; put its password into a password file")
    parser.add_argument("--through", metavar="POOLER", help="put the embedded server behind a pooler: pgbouncer")
    parser.add_argument("--rtt", **delays, help="also simulate these round-trip times (connect, roundtrips)")
    parser.add_argument("--uvloop", action="store_true", help="also measure on uvloop (drivers)")
    parser.add_argument("--count", **number, help="connects (storm: 1000, scale: 10000)")
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="write the document to this file; without FILE, print it"
    )
    parser.add_argument("--plot", metavar="DIR", help="draw PNG and SVG pictures into this folder (needs matplotlib)")
    parser.add_argument("--compare", metavar="FILE", help="compare with an older document")
    parser.add_argument(
        "--from", dest="source", metavar="FILE", help="show this document, and measure nothing; WORKLOAD is not needed"
    )
    parser.add_argument("--markdown", metavar="FILE", help="write the tables between their marks in this file")
    for workload in workloads.values():
        for option in workload.options:
            words = f"{option.help} ({workload.name}; default: %(default)s)"
            parser.add_argument(f"--{option.name}", **number, default=option.default, help=words)


def run(options: argparse.Namespace) -> int:
    """Measure, and show the document."""
    from ..bench.compare import compare  # noqa: PLC0415 - not for other commands
    from ..bench.document import load  # noqa: PLC0415 - not for other commands

    if options.workload is None and options.source is not None:
        options.workload = str(load(options.source, None)["workload"])
    workload = _choose_workload(options)
    with extra_needed("this benchmark", ", or name a server with --dsn."):
        if options.plot is not None:
            from ..bench.plots import require_matplotlib  # noqa: PLC0415 - optional

            require_matplotlib()
        old = load(options.compare, workload.name) if options.compare is not None else None
        document = load(options.source, workload.name) if options.source is not None else _measure(options, workload)
    if options.json not in (None, "-"):
        _write(options.json, document)
    written = _write_extras(options, document)
    comparison = compare(old, document) if old is not None else None
    if options.json == "-":
        print_json(document if comparison is None else {**document, "comparison": comparison})
    else:
        from ._benchmark_view import show  # noqa: PLC0415 - not needed for --help

        show(document, comparison, written)
    return 0


def _workloads() -> dict[str, Workload]:
    from ..bench.workloads.all import WORKLOADS  # noqa: PLC0415 - imports the TLS backends, and --help must not

    return WORKLOADS


def _choose_workload(options: argparse.Namespace) -> Workload:
    workloads, name = _workloads(), options.workload
    if name not in workloads:
        # The text can be a misplaced password, so it is shown only if it looks like a name.
        shown = f" {name!r}" if name and name.isalnum() else ""
        what = "missing workload" if name is None else f"unknown workload{shown}"
        raise UsageError(what, remedy=f"Workloads: {', '.join(workloads)}. Try: babar-tls bench --help")
    if options.through is not None:
        _check_through(options, name)
    return workloads[name]


def _check_through(options: argparse.Namespace, name: str) -> None:
    from ..bench.server import POOLERS  # noqa: PLC0415 - not for other commands

    supported = [workload.name for workload in _workloads().values() if "through" in workload.shared_options]
    if options.through not in POOLERS:
        raise UsageError("unknown pooler", remedy=f"Poolers: {', '.join(POOLERS)}.")
    if name not in supported:
        remedy = f"Workloads with --through: {', '.join(supported)}."
        raise UsageError(f"{name} does not support --through", remedy=remedy)
    if options.dsn is not None:
        raise UsageError("--through is for the embedded server, not for --dsn", remedy="Leave out one of them.")


def _measure(options: argparse.Namespace, workload: Workload) -> dict[str, Any]:
    steps = workload.steps(workload.choose_rounds(vars(options)), len(options.rtt))
    with Interrupts(), progress_bar("Measuring", steps) as advance:
        return workload.run(vars(options), advance)


def _write(path: str, document: dict[str, Any]) -> None:
    try:
        Path(path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise file_error(f"{path!r} cannot be written", exc) from exc


def _write_extras(options: argparse.Namespace, document: dict[str, Any]) -> list[str]:
    """Write pictures and Markdown if requested, and return what was written."""
    written = []
    if options.plot is not None:
        from ..bench.plots import draw  # noqa: PLC0415 - optional

        written += [str(path) for path in draw(document, options.plot)]
    if options.markdown is not None:
        from ..bench.markdown import update  # noqa: PLC0415 - not for other commands

        written += [f"{workload} in {options.markdown}" for workload in update(options.markdown, document)]
    return written


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number > 0:
        return number
    raise argparse.ArgumentTypeError("a positive number is needed")


def _delays(text: str) -> tuple[float, ...]:
    try:
        delays = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        delays = ()
    if delays and all(0 < delay <= _MAX_RTT for delay in delays):
        return delays
    raise argparse.ArgumentTypeError("milliseconds are needed, as in 1,10,50")
