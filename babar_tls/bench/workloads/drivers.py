"""Drivers over babar-tls, each compared in pairs with the same driver over its own TLS.

The two sides of a pair run directly after each other in one process, in alternating order: see `babar_tls.bench.pairs`.
The tasks are those of `babar_tls.bench.tasks`. Sessions are opened before and closed after the measured time;
a connect ends when the session is ready.

babar-tls caches SCRAM keys, which is its default, so its connects need no PBKDF2. The drivers over their own TLS have
no such cache. psycopg is a reference: it is paired with asyncpg and with pg8000.

The document, besides the fields in `babar_tls.bench.document`::

    "parameters": {"rounds": …, "queries": …, "bulk": megabytes, "rows": …, "pool": …},
    "cases": [{…, "over": the driver, "loop": "asyncio" | "uvloop" | null, "task": …,
               "wall": …, "cpu": …, "reference": {"wall": …, "cpu": …} (the driver over its own TLS),
               "ratio": summary of the ratios of wall-clock times, "cpu_ratio": the same of CPU times}]

The times of ``select`` are of one query. With a ratio below 1, the driver is faster over babar-tls.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..client_spec import OURS, Spec
from ..clients import Loop, add_missing, our_specs
from ..document import DocumentBuilder
from ..drivers import DRIVERS
from ..pairs import Pair, time_pairs
from ..server import benchmark_server
from ..tables import Table, milliseconds, number
from ..tasks import TASKS, Sizes
from ..timing import PROCESS, Advance, Case, no_progress, settle
from ..workload import Option, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...config import Config
    from ..drivers import Driver
    from ..tasks import Subject, Task

_SPARE = 30  # server connections for other uses, and those that the server has not closed yet


def measure(
    *,
    rounds: int,
    queries: int,
    bulk: int,
    rows: int,
    pool: int,
    uvloop: bool = False,
    tasks: Sequence[str] | None = None,
    drivers: Sequence[str] | None = None,
    dsn: str | None = None,
    advance: Advance = no_progress,
) -> dict[str, Any]:
    """Measure; `bulk` is in megabytes, and `tasks` and `drivers` select from all."""
    parameters = {"rounds": rounds, "queries": queries, "bulk": bulk, "rows": rows, "pool": pool}
    document = DocumentBuilder("drivers", parameters)
    sizes = Sizes(queries, bulk * 10**6, rows, pool)
    with benchmark_server(dsn, {"max_connections": str(2 * pool + _SPARE)}) as server, ExitStack() as stack:
        loops = {name: stack.enter_context(loop) for name, loop in _loops(document, uvloop=uvloop)}
        contests = [
            contest
            for driver in DRIVERS
            if drivers is None or driver.name in drivers
            for name, loop in loops.items()
            if name == "asyncio" or driver.style == "asyncio"
            for contest in _contests(driver, name, loop, server.config, document)
        ]
        timed = [
            (contest, task, contest.pair(task, sizes))
            for task in TASKS
            if tasks is None or task.name in tasks
            for contest in contests
            if contest.supports(task)
        ]
        time_pairs([pair for _, _, pair in timed], rounds, advance)
    cases = [contest.as_case(task, pair) for contest, task, pair in timed]
    return document.finish(cases, server=server.version)


def _loops(document: DocumentBuilder, *, uvloop: bool) -> Iterator[tuple[str, Loop]]:
    yield "asyncio", Loop()
    if uvloop:
        try:
            yield "uvloop", Loop(import_module("uvloop").new_event_loop)
        except ImportError:
            document.add_missing("uvloop", "not installed: pip install 'uvloop'")


@dataclass(frozen=True)
class _Contest:
    """Two sides: the driver over babar-tls, or psycopg, and the driver over its own TLS."""

    driver: Driver
    loop_name: str
    loop: Loop
    spec: Spec
    subject: Subject
    own: Subject

    def supports(self, task: Task) -> bool:
        return task.name in self.subject.SUPPORTED and task.name in self.own.SUPPORTED

    def pair(self, task: Task, sizes: Sizes) -> Pair:
        subject, own = (_case(side, self.loop, task, sizes) for side in (self.subject, self.own))
        return Pair(subject, own, task.repeats)

    def as_case(self, task: Task, pair: Pair) -> dict[str, Any]:
        loop = self.loop_name if self.driver.style == "asyncio" else None
        words = [self.spec.name.partition(", ")[0], self.driver.name, loop or self.driver.style, task.title]
        return {
            **self.spec.as_dict(),
            "name": ", ".join(words),
            "over": self.driver.name,
            "loop": loop,
            "task": task.name,
            **pair.as_dict(),
        }


def _contests(
    driver: Driver, loop_name: str, loop: Loop, config: Config, document: DocumentBuilder
) -> Iterator[_Contest]:
    """Yield the contests whose two sides can connect, and add the others to the missing ones."""
    own = None
    alone = Spec(driver=driver.name, style=driver.style)
    psycopg = [Spec(driver="psycopg", style=driver.style)] if driver.psycopg else []
    for spec in [alone, *our_specs(document, [driver.style]), *psycopg]:
        try:
            subject = driver.make(spec, config)
            loop.run(subject.close(loop.run(subject.open())))
        except Exception as exc:  # each driver has its own exceptions, and the other clients must be measured
            subject = None
            if own is not None and spec.driver == OURS:
                document.add_missing(f"{driver.name} over {spec.name}", exc)
            elif own is not None or spec is alone:
                add_missing(document, spec, exc)
        if spec is alone:
            own = subject
        elif own is not None and subject is not None:
            yield _Contest(driver, loop_name, loop, spec, subject, own)


def _case(side: Subject, loop: Loop, task: Task, sizes: Sizes) -> Case:
    perform = getattr(side, task.name)
    opened: list[Any] = []

    def prepare() -> None:
        if not task.opens:
            opened.append(loop.run(side.open()))
        settle()

    def call() -> None:
        if task.opens:
            opened.append(loop.run(perform(sizes)))
        else:
            loop.run(perform(opened[-1], sizes))

    def finish() -> None:
        while opened:
            loop.run(side.close(opened.pop()))

    operations = sizes.queries if task.name == "select" else 1
    return Case(name=task.name, call=call, operations=operations, prepare=prepare, finish=finish, clock=PROCESS)


def tables(document: dict[str, Any]) -> list[Table]:
    """Return a table of all ratios, and a table for each task."""
    cases = document["cases"]
    found = []
    for task in TASKS:
        rows = [_cells(case) for case in cases if case["task"] == task.name]
        if rows:
            found.append(Table(f"Drivers: {_title(task, document['parameters'])}", _HEADINGS, rows))
    if not found:
        return []
    return [
        _overview(cases, "ratio", "Drivers over babar-tls: time, x own TLS"),
        _overview(cases, "cpu_ratio", "Drivers over babar-tls: CPU time of the client, x own TLS", _NOTE),
        *found,
    ]


_HEADINGS = ("driver, TLS", "ms", "own TLS, ms", "x own TLS", "min", "max", "its CPU")
_NOTE = (
    "Medians of the ratios of pairs: the driver over babar-tls, or psycopg, divided by the driver over its own TLS. "
    "Less than 1 is faster."
)


def _title(task: Task, parameters: dict[str, Any]) -> str:
    sizes = {
        "value": f"one value of {parameters['bulk']} MB",
        "copy_out": f"COPY out of {parameters['bulk']} MB",
        "copy_in": f"COPY in of {parameters['bulk']} MB",
        "rows": f"{parameters['rows']} rows",
        "pool": f"fill a pool of {parameters['pool']}",
    }
    return sizes.get(task.name, task.title)


def _cells(case: dict[str, Any]) -> tuple[str, ...]:
    digits = 3 if case["task"] == "select" else 1
    return (
        _label(case),
        *(milliseconds(side["wall"]["median"], digits) for side in (case, case["reference"])),
        *(number(case["ratio"][figure], 2) for figure in ("median", "min", "max")),
        number(case["cpu_ratio"] and case["cpu_ratio"]["median"], 2),
    )


def _overview(cases: Sequence[dict[str, Any]], key: str, title: str, note: str = "") -> Table:
    ratios: dict[str, dict[str, str]] = {}
    for case in cases:
        ratios.setdefault(_label(case), {})[case["task"]] = number(case[key] and case[key]["median"], 2)
    tasks = [task for task in TASKS if any(task.name in row for row in ratios.values())]
    rows = [(label, *(row.get(task.name, "-") for task in tasks)) for label, row in ratios.items()]
    return Table(title, ("driver, TLS", *(task.title for task in tasks)), rows, note)


def _label(case: dict[str, Any]) -> str:
    """Return the driver, the event loop if it is not that of asyncio, and what it is compared with."""
    words = [case["over"], *([case["loop"]] if case["loop"] == "uvloop" else [])]
    return f"{', '.join(words)}: {case['backend'] or case['driver']}"


WORKLOAD = Workload(
    name="drivers",
    summary="asyncpg, pg8000 and SQLAlchemy over babar-tls, compared with their own TLS in pairs",
    measure=measure,
    tables=tables,
    rounds=7,
    quick_rounds=1,
    options=(
        Option("queries", 200, "queries of one measurement"),
        Option("bulk", 100, "megabytes of a value and of a COPY"),
        Option("rows", 500_000, "rows of a query"),
        Option("pool", 50, "connections of a pool"),
    ),
    shared_options=("dsn", "uvloop"),
)
