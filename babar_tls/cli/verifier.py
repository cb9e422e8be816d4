"""``babar-tls verifier``: what PostgreSQL keeps in place of a password, made where the password is."""

from __future__ import annotations

import argparse
from itertools import islice
from typing import TYPE_CHECKING

from ..errors import ConfigError
from . import _verifier_input as source
from . import _verifier_output as sink
from ._errors import UsageError
from ._interrupts import Interrupts
from ._output import print_json
from ._progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

HELP = "make what PostgreSQL stores in place of a password, for one or for a million"
DESCRIPTION = """\
Make PostgreSQL's SCRAM-SHA-256 verifiers, for ALTER ROLE … PASSWORD, so that the server never sees the password. It is
asked for at the terminal, or read from the first line of standard input; no argument takes one."""
EPILOG = """\
In bulk, a bad row (an empty password, a missing column) is told by its line, never by what it holds; the exit status is
then 2 and nothing is written. A first row "role,password" is a header. Bytes that are not UTF-8 are used as they are.

examples:
  babar-tls verifier
  babar-tls verifier --bulk accounts.csv --format csv --output-format sql --out passwords.sql
  generate-passwords | babar-tls verifier --bulk - > verifiers.txt
"""

_MAX_ITERATIONS = (1 << 31) - 1
_INPUTS: dict[str, Callable[[BinaryIO], Iterator[source.Row | source.Problem]]] = {
    "lines": source.read_lines,
    "csv": source.read_csv,
}
_BATCH = 96  # derivations at once: a few milliseconds, and a multiple of every kernel's lanes
_PROBLEMS_SHOWN = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments."""
    parser.add_argument(
        "--iterations", metavar="N", type=_iterations, default=4096, help="of PBKDF2 (default: 4096, as the server's)"
    )
    parser.add_argument("--bulk", metavar="FILE", help="make one for each password in this file; - is standard input")
    parser.add_argument(
        "--format", metavar="FORMAT", type=_one_of(_INPUTS), help="what FILE holds: lines (default) or csv"
    )
    parser.add_argument(
        "--output-format",
        metavar="FORMAT",
        type=_one_of(sink.FORMATS),
        help="lines, csv, sql or json (default: as read)",
    )
    parser.add_argument("--out", metavar="FILE", help="write to a new file that nobody else can read")
    parser.add_argument("--force", action="store_true", help="replace that file if it exists")
    # Whoever puts a password here is told so, without its being shown.
    parser.add_argument("stray", nargs="*", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Make them."""
    if options.stray:
        raise UsageError(
            "verifier takes no argument: a password on a command line can be read by every user of the machine",
            remedy="Run it without: it asks for the password, or reads it from standard input.",
        )
    if options.bulk is not None:
        _bulk(options)
        return 0
    for name in ("format", "output_format", "out", "force"):
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} is for --bulk", remedy="Try: babar-tls verifier --help")
    from ..crypto import scram_verifier  # noqa: PLC0415 - what --help does not need

    verifier = scram_verifier(source.ask(), iterations=options.iterations)
    if options.json:
        print_json({"verifier": verifier, **_facts(options)})
    else:
        print(verifier)
    return 0


def _bulk(options: argparse.Namespace) -> None:
    output_format = _output_format(options)
    if options.out is not None:
        sink.check_destination(options.out, force=options.force)
    with Interrupts(), source.open_source(options.bulk) as stream:
        read = _INPUTS[options.format or "lines"]
        problems = _Problems()
        total = None
        if stream.seekable() and options.bulk != "-":
            total = sum(1 for _ in problems.sift(read(stream)))
            problems.check()
            stream.seek(0)
        made = 0
        with (
            sink.destination(options.out, force=options.force) as file,
            progress_bar("Making verifiers", total) as advance,
        ):

            def verifiers() -> Iterator[tuple[str | None, str]]:
                nonlocal made
                for batch in _derive(problems.sift(read(stream)), options.iterations):
                    yield from batch
                    made += len(batch)
                    advance(len(batch))

            for piece in sink.render(output_format, verifiers(), _facts(options)):
                file.write(piece.encode())
            problems.check()
        if options.out is not None:
            _summarize(options, output_format, made)


def _output_format(options: argparse.Namespace) -> str:
    """The format to write, if it fits what is read and where it goes.

    Raises:
        UsageError: It does not.
    """
    chosen: str = options.output_format or (
        "json" if options.json and options.out is None else options.format or "lines"
    )
    if chosen in ("csv", "sql") and options.format != "csv":
        raise UsageError(f"--output-format {chosen} needs the roles", remedy="They come with --format csv.")
    if options.json and options.out is None and chosen != "json":
        raise UsageError(f"--json leaves no room for {chosen} on standard output", remedy="Name a file with --out.")
    if options.force and options.out is None:
        raise UsageError("--force is for --out", remedy="Try: babar-tls verifier --help")
    return chosen


def _derive(rows: Iterable[source.Row], iterations: int) -> Iterator[list[tuple[str | None, str]]]:
    """Role and verifier of each row, as many together as are derived at once."""
    from ..crypto import scram_verifiers  # noqa: PLC0415 - what --help does not need

    waiting = iter(rows)
    while batch := list(islice(waiting, _BATCH)):
        verifiers = scram_verifiers([row.password for row in batch], iterations=iterations)
        yield [(row.role, verifier) for row, verifier in zip(batch, verifiers, strict=True)]


def _summarize(options: argparse.Namespace, output_format: str, made: int) -> None:
    if options.json:
        print_json({"verifiers": made, "out": options.out, "format": output_format, **_facts(options)})
    else:
        print(f"{made} verifier{'' if made == 1 else 's'} in {options.out}")


def _facts(options: argparse.Namespace) -> dict[str, object]:
    from ..crypto import implementation  # noqa: PLC0415 - what --help does not need

    return {"iterations": options.iterations, "implementation": implementation()}


class _Problems:
    """The rows that there is no verifier for: the first few, and how many."""

    def __init__(self) -> None:
        self._first: list[source.Problem] = []
        self._count = 0

    def sift(self, items: Iterable[source.Row | source.Problem]) -> Iterator[source.Row]:
        """The good rows up to the first bad one; from there on there is no output, and only bad ones are looked for."""
        for item in items:
            if isinstance(item, source.Row):
                if not self._count:
                    yield item
                continue
            self._count += 1
            if len(self._first) < _PROBLEMS_SHOWN:
                self._first.append(item)

    def check(self) -> None:
        """Report what was found.

        Raises:
            ConfigError: There were bad rows.
        """
        if not self._count:
            return
        told = [f"line {line}: {reason}" for line, reason in self._first]
        more = self._count - len(told)
        rest = [f"and {more} more"] if more else []
        plural = "" if self._count == 1 else "s"
        raise ConfigError(
            f"{self._count} bad row{plural} in the input, and nothing has been written\n" + "\n".join(told + rest)
        )


def _iterations(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if 1 <= number <= _MAX_ITERATIONS:
        return number
    raise argparse.ArgumentTypeError(f"a number between 1 and {_MAX_ITERATIONS} is needed")


def _one_of(names: Iterable[str]) -> Callable[[str], str]:
    """A type for argparse that takes these words."""

    def check(text: str) -> str:
        if text in names:
            return text
        raise argparse.ArgumentTypeError(f"one of {', '.join(names)} is needed")

    return check
