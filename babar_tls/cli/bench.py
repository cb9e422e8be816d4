"""``babar-tls bench``: measure on this machine what is claimed elsewhere."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bench import WORKLOADS
from ..errors import ConfigError
from ._errors import UsageError, require_rich
from ._interrupts import Interrupts
from ._progress import progress_bar
from ._text import print_json

if TYPE_CHECKING:
    from types import ModuleType

HELP = "measure on this machine, everything that is compared in one run"
DESCRIPTION = """\
Measure a workload on this machine. What is compared is measured in turns, in one run, and ratios are of the best
rounds; the medians beside them, and CPU time beside the wall clock, show how quiet the machine was."""
EPILOG = """\
workloads:
  kdf    PBKDF2-HMAC-SHA-256: hashlib, cryptography, each kernel of the helper; its call overhead; the end-point hash

examples:
  babar-tls bench kdf
  babar-tls bench kdf --quick --json kdf.json
"""

#: This command's ``--json`` may name a file.
OWN_JSON = True


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments, those of every workload included."""
    parser.add_argument("workload", metavar="WORKLOAD", nargs="?", help=f"one of: {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", metavar="N", type=_positive, help="how often everything is measured")
    parser.add_argument("--quick", action="store_true", help="few rounds, for a first look")
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="write a JSON document to this file; without, print it"
    )
    for name in WORKLOADS:
        _drawing(name).configure(parser.add_argument_group(name), _positive)


def run(options: argparse.Namespace) -> int:
    """Measure, then draw."""
    name = options.workload
    if name not in WORKLOADS:
        # Anything may have been put there by mistake.
        what = "which workload?" if name is None else f"unknown workload {name!r}" if name.isalnum() else "no workload"
        raise UsageError(what, remedy=f"Workloads: {', '.join(WORKLOADS)}. Try: babar-tls bench --help")
    if options.json != "-":
        require_rich()
    workload = _drawing(name)
    rounds = options.rounds or (workload.QUICK_ROUNDS if options.quick else workload.ROUNDS)
    with Interrupts(), progress_bar("Measuring", rounds) as advance:
        document = workload.measure(options, rounds, advance)
    if options.json == "-":
        print_json(document)
    else:
        if options.json is not None:
            _write(options.json, document)
        from ._terminal import terminal  # noqa: PLC0415 - optional

        workload.draw(terminal(), document)
    return 0


def _drawing(name: str) -> ModuleType:
    """The workload's side on the command line: ``ROUNDS``, ``QUICK_ROUNDS``, `configure`, `measure` and `draw`."""
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
