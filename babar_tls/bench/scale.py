"""Does the ten-thousandth connect cost what the first did? Time for each, and memory that is not given back.

The server is one that speaks TLS and SCRAM and no more, in a process of its own: PostgreSQL, which forks for every
connection, would be what is measured. Or it is yours, with `dsn`, or a PostgreSQL behind a pooler, with `through`. The
document, besides what `babar_tls.bench.record` says::

    "parameters": {"count": …, "edge": connects at either end that are compared, "through": "pgbouncer" | null},
    "cases": [{…, "first": {"wall": …, "cpu": …}, "last": {"wall": …, "cpu": …}, "times_first": {"wall": …, "cpu": …},
               "resident_before": …, "resident_after": …, "growth": bytes | null}]
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .children import Child, run_job
from .clients import Loop, our_specs, usable
from .figures import median, ratio, target
from .places import Place, server_place
from .record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .spec import Spec


_EDGE = 1000  # connects
_GROWTH = 4 << 20  # bytes, over all connects


def run(
    *,
    count: int = 10_000,
    dsn: str | None = None,
    through: str | None = None,
    advance: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Measure.

    Args:
        count: How many connects each client makes, one after the other.
        dsn: The server, `None` for one of our own.
        through: ``pgbouncer`` to put our own behind one.
        advance: Called with 1 after each client, and with the rest of three at the end.

    Returns:
        The document; see above.
    """
    edge = max(1, min(_EDGE, count // 4))
    record = Record("scale", {"count": count, "edge": edge, "through": through})
    with server_place(dsn, through=through) if dsn is not None or through is not None else _scram_place() as place:
        with Loop() as loop:
            clients = usable(_specs(record), place, record, loop)
        cases = []
        for client in clients:
            job = {"client": client.spec.as_dict(), "place": place.as_dict(), "count": count, "edge": edge}
            cases.append({**client.spec.as_dict(), "name": client.spec.name, **_figures(run_job("connects", **job))})
            if advance is not None:
                advance(1)
    return record.finish(cases, _targets(cases), server=place.version)


def _specs(record: Record) -> list[Spec]:
    return our_specs(record) + [spec for spec in our_specs(record, style="asyncio") if spec.backend == "stdlib"]


@contextmanager
def _scram_place() -> Iterator[Place]:
    password = secrets.token_urlsafe(16)
    with Child("scram_server", password=password) as child, TemporaryDirectory(prefix="babar-tls-") as folder:
        told = child.result()
        roots = Path(folder, "root.pem")
        roots.write_text(told["root"], encoding="ascii")
        yield Place(
            host="127.0.0.1",
            port=told["port"],
            user="bench",
            password=password,
            database="bench",
            root_cert_path=str(roots),
        )


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    before, after = result["resident_before"], result["resident_after"]
    return {
        **result,
        "times_first": {
            clock: ratio(median(result["last"], clock), median(result["first"], clock)) for clock in ("wall", "cpu")
        },
        "growth": None if before is None or after is None else after - before,
    }


def _targets(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    dearest = max((case["times_first"]["cpu"] for case in cases if case["times_first"]["cpu"]), default=None)
    growth = max((case["growth"] for case in cases if case["growth"] is not None), default=None)
    return [
        target("CPU of the last connects, against the first", dearest, unit="times", at_most=1.1),
        target("growth in RAM over all connects", growth, unit="bytes", at_most=_GROWTH),
    ]
