"""The comparison: every case through libpq and through this library, and what they do not agree on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .clients import BACKENDS, Outcome, normal, through_babar, through_libpq
from .differences import difference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .cases import Case
    from .libpq_process import Libpq
    from .scripted import ScriptLog
    from .server_log import ServerLog
    from .world import World

#: Every so many cases one is run through `AsyncSession` too.
ASYNC_STEP = 5


class Comparison:
    """Runs cases one after another; afterwards the logs tell what each client did.

    Args:
        world: The servers.
        libpq: The other side.
    """

    def __init__(self, world: World, libpq: Libpq) -> None:
        self._world = world
        self._libpq = libpq
        self._logs: dict[str, ServerLog | ScriptLog] = {}
        self._runs: list[tuple[Case, str, str, Outcome, dict[str, int]]] = []

    def run(self, cases: Iterable[Case]) -> None:
        """Connect once with each client for each case."""
        for index, case in enumerate(cases):
            values = self._world.values(case.servers)
            for name in case.servers:
                if name not in self._logs:
                    self._logs[name] = self._world.log(name)
            conninfo, home = case.conninfo(values), values[case.home]
            self._record(case, conninfo, "libpq", through_libpq(self._libpq, conninfo, home))
            for backend in BACKENDS:
                outcome = through_babar(conninfo, home, backend)
                self._record(case, conninfo, backend, outcome)
            if index % ASYNC_STEP == 0:
                backend = BACKENDS[index // ASYNC_STEP % len(BACKENDS)]
                outcome = through_babar(conninfo, home, backend, "asyncio")
                self._record(case, conninfo, f"{backend} asyncio", outcome)

    def _record(self, case: Case, conninfo: str, client: str, outcome: Outcome) -> None:
        fences = {name: self._logs[name].fence(unix="{" in case.get("host")) for name in case.servers}
        self._runs.append((case, conninfo, client, outcome, fences))

    def disagreements(self) -> list[str]:
        """Return one paragraph for each unexpected result, with the clients that had it."""
        stretches = {name: log.stretches() for name, log in self._logs.items()}
        found: dict[str, list[str]] = {}
        theirs, their_attempts = Outcome(""), {}
        for case, conninfo, client, outcome, fences in self._runs:
            attempts = {name: stretches[name][number] for name, number in fences.items()}
            if client == "libpq":
                theirs, their_attempts = outcome, attempts
                continue
            problem = _problem(case, _compare(theirs, their_attempts, outcome, attempts), outcome)
            if problem:
                sides = f"libpq: {_shown(theirs, their_attempts)}\n  ours:  {_shown(outcome, attempts)}"
                found.setdefault(f"{case}\n  {conninfo}\n  {sides}\n  which {problem}", []).append(client)
        return [f"{text} ({', '.join(clients)})" for text, clients in found.items()]


def check(world: World, libpq: Libpq, cases: Iterable[Case]) -> None:
    """Fail with every disagreement that is not among the deliberate differences, and with every one that has gone."""
    comparison = Comparison(world, libpq)
    comparison.run(cases)
    found = comparison.disagreements()
    assert not found, "\n".join([f"{len(found)} disagreements", *found])


def _problem(case: Case, differs: str, ours: Outcome) -> str:
    """Return why the result is unexpected, or an empty string."""
    expected = difference(case)
    if expected is None:
        return differs
    if not differs:
        return f"is like libpq, and should differ: {expected.name}"
    if not re.search(expected.ours, ours.text) or bool(expected.ours) is ours.connected:
        return f"differs otherwise than {expected.name!r}, where {expected.ours!r} is to be expected"
    return ""


def _compare(
    theirs: Outcome, their_attempts: dict[str, list[str]], ours: Outcome, our_attempts: dict[str, list[str]]
) -> str:
    if theirs.connected is not ours.connected:
        return "connects" if ours.connected else "does not connect"
    if their_attempts != our_attempts:
        return "makes other attempts"
    if theirs.row != ours.row:
        return "has another identity on the server"
    rest = normal(ours.text)
    for line in theirs.lines:  # in their order, and each as often
        _, found, rest = rest.partition(line)
        if not found:
            return f"does not say {line!r}"
    return ""


def _shown(outcome: Outcome, attempts: dict[str, list[str]]) -> str:
    what = f"connected {outcome.row}" if outcome.connected else f"{outcome.error} {outcome.text.strip()!r}"
    return f"{what} {attempts}"
