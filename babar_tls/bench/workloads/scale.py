"""Ten thousand connects, one after the other: time of the first and the last ones, and growth of the process.

PostgreSQL forks for each connection, and would dominate the result. So the server is a minimal one that implements TLS
and SCRAM, in a child process. With `dsn` it is the named server, and with `through` PostgreSQL behind a pooler. The
document, besides the fields in `babar_tls.bench.document`::

    "parameters": {"count": …, "edge": connects at each end that are compared, "through": "pgbouncer" | null},
    "cases": [{…, "first": {"wall": …, "cpu": …}, "last": {"wall": …, "cpu": …}, "times_first": {"wall": …, "cpu": …},
               "resident_before": …, "resident_after": …, "growth": bytes | null}]
"""

from __future__ import annotations

import gc
import secrets
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ...diagnostics.counts import count
from ..child_process import ChildProcess
from ..clients import Loop, make_in_child, our_specs, run_client_job, usable_specs
from ..document import DocumentBuilder
from ..machine import resident_bytes
from ..server import Server, benchmark_server, strict_config
from ..summaries import ratios
from ..tables import Table, milliseconds, number, short_name
from ..timing import Advance, Series, no_progress
from ..workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator


_EDGE = 1000  # connects at most
_CONNECTS_A_ROUND = 1000
_CLIENTS = 4  # usually


def measure(
    *,
    rounds: int = 10,
    count: int | None = None,
    dsn: str | None = None,
    through: str | None = None,
    advance: Advance = no_progress,
) -> dict[str, Any]:
    """Measure `count` connects of each client, by default a thousand for each round; advance after each client."""
    count = count or rounds * _CONNECTS_A_ROUND
    edge = max(1, min(_EDGE, count // 4))
    document = DocumentBuilder("scale", {"count": count, "edge": edge, "through": through})
    minimal = dsn is None and through is None
    with _scram_server() if minimal else benchmark_server(dsn, through=through) as server:
        specs = [spec for spec in our_specs(document) if spec.style == "blocking" or spec.backend == "stdlib"]
        cases = []
        for spec in usable_specs(specs, server.config, document):
            result = run_client_job(connect_repeatedly, spec, server.config, count=count, edge=edge)
            before, after = result["resident_before"], result["resident_after"]
            growth = None if before is None or after is None else after - before
            times_first = ratios(result["last"], result["first"])
            cases.append({**spec.as_case(), **result, "times_first": times_first, "growth": growth})
            advance(1)
    return document.finish(cases, server=server.version)


@contextmanager
def _scram_server() -> Iterator[Server]:
    password = secrets.token_urlsafe(16)
    with (
        ChildProcess(run_scram_server, password=password) as child,
        TemporaryDirectory(prefix="babar-tls-") as folder,
    ):
        started = child.result()
        roots = Path(folder, "root.pem")
        roots.write_text(started["root"], encoding="ascii")
        config = strict_config(
            host="127.0.0.1",
            port=started["port"],
            user="bench",
            password=password,
            database="bench",
            tls_root_cert_path=str(roots),
        )
        yield Server(config)


def run_scram_server(*, password: str) -> Iterator[dict[str, Any]]:
    """Run a server with TLS and SCRAM until standard input is closed; runs in a child process."""
    from ...testing import CertificateAuthority, ScramServer  # noqa: PLC0415 - needs an extra

    authority = CertificateAuthority()
    with ScramServer({"bench": password}, authority.issue("127.0.0.1"), tls_backend="stdlib", timeout=60) as server:
        yield {"port": server.port, "root": authority.root_pem.decode("ascii")}
        sys.stdin.read()


def connect_repeatedly(*, spec: dict[str, Any], conninfo: str, count: int, edge: int) -> Iterator[dict[str, Any]]:
    """Connect and close; yield the times of both ends, and the memory before and after; runs in a child process."""
    client = make_in_child(spec, conninfo)
    series = Series()
    with Loop() as loop:
        for _ in range(edge):
            loop.connect_and_close(client)
        gc.collect()
        before = resident_bytes()
        for _ in range(count):
            wall, cpu = time.perf_counter_ns(), time.process_time_ns()
            loop.connect_and_close(client)
            series.wall.append((time.perf_counter_ns() - wall) / 1e9)
            series.cpu.append((time.process_time_ns() - cpu) / 1e9)
        gc.collect()
        after = resident_bytes()
    yield {
        "first": Series(series.wall[:edge], series.cpu[:edge]).as_dict(),
        "last": Series(series.wall[-edge:], series.cpu[-edge:]).as_dict(),
        "resident_before": before,
        "resident_after": after,
    }


def tables(document: dict[str, Any]) -> list[Table]:
    """Return the table of all clients."""
    parameters = document["parameters"]
    rows = [
        (
            short_name(case),
            *(milliseconds(case[end][clock]["median"]) for clock in ("wall", "cpu") for end in ("first", "last")),
            number(case["times_first"]["cpu"], 2),
            number(case["growth"], scale=1e-3),
        )
        for case in document["cases"]
    ]
    return [
        Table(
            f"{count(parameters['count'], 'connect')}, one after the other: "
            f"the first and the last {parameters['edge']}",
            ("client", "first, ms", "last, ms", "first, CPU ms", "last, CPU ms", "last / first", "growth, KB"),
            rows,
        )
    ]


WORKLOAD = Workload(
    name="scale",
    summary="the first and the last of ten thousand connects, and the growth of the process",
    measure=measure,
    tables=tables,
    rounds=10,
    quick_rounds=1,
    shared_options=("dsn", "through", "count"),
    steps=lambda _rounds, _distances: _CLIENTS,
)
