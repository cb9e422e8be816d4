"""``COPY … TO STDOUT`` over TLS: megabytes per second, and the client's CPU time for a gigabyte.

The server generates the rows while it sends them (``repeat``). Each row is one CopyData message, which the client reads
and discards. Small rows measure the driver's work for a message, large rows that of TLS. The document, besides the
fields in `babar_tls.bench.document`::

    "parameters": {"rounds": …, "megabytes": …, "row_bytes": […], "through": "pgbouncer" | null},
    "cases": [{…, "row_bytes": …, "bytes": received, "wall": …, "cpu": …,
               "megabytes_per_second": by the median, "cpu_per_gigabyte": seconds, by the median}]

A megabyte is 10**6 bytes, a gigabyte 10**9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...diagnostics.counts import count
from ..clients import Loop, our_specs, usable
from ..document import DocumentBuilder
from ..peers import peer_specs
from ..server import benchmark_server
from ..tables import Table, milliseconds, number, short_name
from ..timing import PROCESS, Advance, Case, no_progress, settle, time_cases
from ..workload import Option, Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..client_spec import Client


_ROW_BYTES = (1000, 8000)


def measure(
    *,
    rounds: int,
    megabytes: int,
    row_bytes: Sequence[int] = _ROW_BYTES,
    dsn: str | None = None,
    through: str | None = None,
    advance: Advance = no_progress,
) -> dict[str, Any]:
    """Measure; each client receives `megabytes` in rows of each size, which does not include the line feed."""
    parameters = {"rounds": rounds, "megabytes": megabytes, "row_bytes": list(row_bytes), "through": through}
    document = DocumentBuilder("stream", parameters)
    with benchmark_server(dsn, through=through) as server, Loop() as loop:
        specs = our_specs(document) + peer_specs(streams=True)
        clients = usable(specs, server.config, document, loop, _sql(1, 1))
        streams = [_Stream(client, loop, size, megabytes) for size in row_bytes for client in clients]
        series = time_cases([stream.case for stream in streams], rounds, advance)
    cases = []
    for stream in streams:
        figures = series[stream.case.name].as_dict()
        cases.append(
            {
                **stream.client.spec.as_dict(),
                "name": stream.case.name,
                "row_bytes": stream.row_bytes,
                "bytes": stream.received,
                **figures,
                "megabytes_per_second": stream.received / figures["wall"]["median"] / 1e6,
                "cpu_per_gigabyte": figures["cpu"]["median"] / stream.received * 1e9,
            }
        )
    return document.finish(cases, server=server.version)


def _sql(row_bytes: int, rows: int) -> str:
    return f"copy (select repeat('x', {row_bytes}) from generate_series(1, {rows})) to stdout"  # noqa: S608 - integers only


class _Stream:
    """A client and its query; the connect is not timed."""

    def __init__(self, client: Client, loop: Loop, row_bytes: int, megabytes: int) -> None:
        self.client = client
        self.row_bytes = row_bytes
        self.received = 0
        session: Any = None

        def prepare() -> None:
            nonlocal session
            session = loop.run(client.open())
            settle()

        def call() -> None:
            self.received = loop.run(client.stream(session, sql))

        sql = _sql(row_bytes, max(1, megabytes * 10**6 // (row_bytes + 1)))
        self.case = Case(
            name=f"{client.spec.name}, rows of {row_bytes} bytes",
            prepare=prepare,
            call=call,
            finish=lambda: loop.run(client.close(session)),
            clock=PROCESS,
        )


def tables(document: dict[str, Any]) -> list[Table]:
    """Return a table for each size of rows."""
    parameters = document["parameters"]
    return [
        Table(
            f"COPY TO STDOUT over TLS, {parameters['megabytes']} MB in rows of {size} bytes",
            ("client", "MB/s", "CPU s/GB", "ms", "min", "max"),
            [
                (
                    short_name(case),
                    number(case["megabytes_per_second"]),
                    number(case["cpu_per_gigabyte"], 2),
                    *(milliseconds(case["wall"][figure], 0) for figure in ("median", "min", "max")),
                )
                for case in document["cases"]
                if case["row_bytes"] == size
            ],
            f"Medians of {count(parameters['rounds'], 'round')}.",
        )
        for size in parameters["row_bytes"]
    ]


WORKLOAD = Workload(
    name="stream",
    summary="COPY TO STDOUT over TLS: MB/s, and CPU time for a gigabyte",
    measure=measure,
    tables=tables,
    rounds=5,
    quick_rounds=1,
    options=(Option("megabytes", 256, "for each client and round"),),
    shared_options=("dsn", "through"),
)
