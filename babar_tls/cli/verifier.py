"""``babar-tls verifier``: SCRAM verifiers, which PostgreSQL stores in place of passwords."""

from __future__ import annotations

import argparse
from itertools import islice
from typing import TYPE_CHECKING

from ..diagnostics.counts import count
from ..errors import ConfigError
from ._errors import UsageError
from ._interrupts import Interrupts
from ._output import print_json
from ._password_input import Problem, Row, open_input, read_csv, read_lines, read_password
from ._progress import progress_bar
from ._verifier_output import FORMATS, check_destination, destination, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

HELP = "compute what PostgreSQL stores in place of a password (a SCRAM verifier)"
DESCRIPTION = """\
Compute SCRAM-SHA-256 verifiers. PostgreSQL stores a verifier in place of a password. If you pass it to
ALTER ROLE … PASSWORD, neither the server nor its log receives the password itself. The password is read from the
terminal or from the first line of standard input; it cannot be an argument, because other users can read those."""
EPILOG = """\
With --bulk, FILE has a password on each line, or with --format csv rows of role,password, with or without that header.
If a row is invalid (for example, an empty password), its line number is reported, the exit status is 2 and nothing is
written.

examples:
  babar-tls verifier
  babar-tls verifier --bulk a.csv --format csv --output-format sql --out a.sql
  generate-passwords | babar-tls verifier --bulk - > verifiers.txt
"""

_MAX_ITERATIONS = (1 << 31) - 1
_INPUTS: dict[str, Callable[[BinaryIO], Iterator[Row | Problem]]] = {"lines": read_lines, "csv": read_csv}
_BATCH = 96  # derivations at once: a few milliseconds, and a multiple of every kernel's lanes
_PROBLEMS_SHOWN = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to the parser."""
    iterations = "PBKDF2 iterations; more make guessing, and each login, slower (default: 4096, as in PostgreSQL)"
    parser.add_argument("--iterations", metavar="N", type=_iterations, default=4096, help=iterations)
    bulk = "compute a verifier for each password in FILE, or in standard input (-)"
    parser.add_argument("--bulk", metavar="FILE", help=bulk)
    parser.add_argument("--format", metavar="FORMAT", choices=_INPUTS, help="format of FILE: lines (default) or csv")
    formats = "lines, csv, sql (ALTER ROLE statements) or json (default: as --format)"
    parser.add_argument("--output-format", metavar="FORMAT", choices=FORMATS, help=formats)
    parser.add_argument("--out", metavar="FILE", help="write to a new file that only you can read")
    parser.add_argument("--force", action="store_true", help="replace the file of --out if it exists")
    # A password that is given as an argument is refused without being shown.
    parser.add_argument("stray", nargs="*", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Compute one verifier, or those of a file."""
    if options.stray:
        raise UsageError(
            "verifier takes no argument: other users can read a password on a command line",
            remedy="Run it without arguments: the password is read from the terminal or from standard input.",
        )
    if options.bulk is not None:
        _bulk(options)
        return 0
    for name in ("format", "output_format", "out", "force"):
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} is for --bulk", remedy="Try: babar-tls verifier --help")
    from ..crypto import scram_verifier  # noqa: PLC0415 - not needed for --help

    verifier = scram_verifier(read_password(), iterations=options.iterations)
    if options.json:
        print_json({"verifier": verifier, **_facts(options)})
    else:
        print(verifier)
    return 0


def _bulk(options: argparse.Namespace) -> None:
    output_format = _output_format(options)
    if options.out is not None:
        check_destination(options.out, force=options.force)
    problems = _Problems()
    read = _INPUTS[options.format or "lines"]
    total, made = None, 0
    with Interrupts(), open_input(options.bulk) as stream:
        if stream.seekable() and options.bulk != "-":
            total = sum(1 for _ in problems.valid_rows(read(stream)))
            problems.check()
            stream.seek(0)
        with destination(options.out, force=options.force) as file, progress_bar("Verifiers", total) as advance:

            def verifiers() -> Iterator[tuple[str | None, str]]:
                nonlocal made
                for batch in _derive(problems.valid_rows(read(stream)), options.iterations):
                    yield from batch
                    made += len(batch)
                    advance(len(batch))

            for piece in render(output_format, verifiers(), _facts(options)):
                file.write(piece.encode())
            problems.check()
    if options.out is not None and options.json:
        print_json({"verifiers": made, "out": options.out, "format": output_format, **_facts(options)})
    elif options.out is not None:
        print(f"{count(made, 'verifier')} in {options.out}")


def _output_format(options: argparse.Namespace) -> str:
    """Return the format to write.

    Raises:
        UsageError: The format does not fit the input or the destination.
    """
    json_only = options.json and options.out is None
    chosen: str = options.output_format or ("json" if json_only else options.format or "lines")
    if chosen in ("csv", "sql") and options.format != "csv":
        raise UsageError(f"--output-format {chosen} needs the roles", remedy="Use --format csv, which has them.")
    if json_only and chosen != "json":
        raise UsageError(f"--json and {chosen} cannot share standard output", remedy="Name a file with --out.")
    if options.force and options.out is None:
        raise UsageError("--force is for --out", remedy="Try: babar-tls verifier --help")
    return chosen


def _derive(rows: Iterable[Row], iterations: int) -> Iterator[list[tuple[str | None, str]]]:
    """Yield role and verifier of the rows, in batches that are derived together."""
    from ..crypto import scram_verifiers  # noqa: PLC0415 - not needed for --help

    waiting = iter(rows)
    while batch := list(islice(waiting, _BATCH)):
        verifiers = scram_verifiers([row.password for row in batch], iterations=iterations)
        yield [(row.role, verifier) for row, verifier in zip(batch, verifiers, strict=True)]


def _facts(options: argparse.Namespace) -> dict[str, object]:
    from ..crypto import implementation  # noqa: PLC0415 - not needed for --help

    return {"iterations": options.iterations, "implementation": implementation()}


class _Problems:
    """The first few invalid rows, and the number of all."""

    def __init__(self) -> None:
        self._first: list[Problem] = []
        self._count = 0

    def valid_rows(self, items: Iterable[Row | Problem]) -> Iterator[Row]:
        """Yield the rows before the first invalid one, then only count the invalid ones."""
        for item in items:
            if isinstance(item, Problem):
                self._count += 1
                if len(self._first) < _PROBLEMS_SHOWN:
                    self._first.append(item)
            elif not self._count:
                yield item

    def check(self) -> None:
        """Report the invalid rows.

        Raises:
            ConfigError: There were invalid rows.
        """
        lines = [f"line {line}: {reason}" for line, reason in self._first]
        if self._count > len(lines):
            lines.append(f"and {self._count - len(lines)} more")
        if lines:
            found = count(self._count, "invalid row")
            raise ConfigError("\n".join([f"{found}; nothing was written", *lines]))


def _iterations(text: str) -> int:
    number = int(text) if text.isdecimal() and len(text) <= len(str(_MAX_ITERATIONS)) else 0
    if 1 <= number <= _MAX_ITERATIONS:
        return number
    raise argparse.ArgumentTypeError(f"must be a number between 1 and {_MAX_ITERATIONS}")
