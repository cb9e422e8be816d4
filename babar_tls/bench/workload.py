"""`Workload`: the interface that all benchmarks have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .tables import Table
    from .timing import Advance


@dataclass(frozen=True)
class Option:
    """A command-line option of one workload; its value is a positive integer."""

    name: str
    default: int
    help: str


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A benchmark.

    Attributes:
        name: The name on the command line and in documents.
        summary: One line of the help text.
        measure: Measure, and return the document. The keyword arguments are ``rounds``, ``advance`` and the options.
        tables: Return the tables of a document.
        rounds: The default number of rounds.
        quick_rounds: The number of rounds with ``--quick``.
        options: The options that only this workload has.
        shared_options: The names of the shared options that `measure` accepts.
        steps: Return the sum of all calls of ``advance``, from the numbers of rounds and of simulated distances.
    """

    name: str
    summary: str
    measure: Callable[..., dict[str, Any]]
    tables: Callable[[dict[str, Any]], list[Table]]
    rounds: int
    quick_rounds: int
    options: tuple[Option, ...] = ()
    shared_options: tuple[str, ...] = ()
    steps: Callable[[int, int], int] = lambda rounds, _distances: rounds

    def choose_rounds(self, options: Mapping[str, Any]) -> int:
        """Return the number of rounds for these command-line options."""
        return options["rounds"] or (self.quick_rounds if options["quick"] else self.rounds)

    def run(self, options: Mapping[str, Any], advance: Advance) -> dict[str, Any]:
        """Measure with these command-line options; an option that is None selects its default."""
        names = [*self.shared_options, *(option.name for option in self.options)]
        given = {name: options[name] for name in names if options[name] is not None}
        return self.measure(rounds=self.choose_rounds(options), advance=advance, **given)
