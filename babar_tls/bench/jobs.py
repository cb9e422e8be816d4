"""What runs in the processes of `babar_tls.bench.children`: each function here is a job."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

from .clients import Loop, make
from .figures import summary
from .machine import busy_seconds, resident_bytes
from .places import Place
from .spec import OURS, Client, Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_TICK = 0.001  # seconds
_WORST = 10
_REMEMBERED = 3  # different errors


def memory(*, client: dict[str, Any], place: dict[str, Any], sessions: int, warmup: int) -> Iterator[dict[str, Any]]:
    """Bytes that an open session costs: in RAM and, for ours, of Python's own allocator."""
    driver = _client(client, place)
    with Loop() as loop:
        for _ in range(warmup):
            loop.run(driver.close(loop.run(driver.open())))
        gc.collect()
        before = resident_bytes()
        held = [loop.run(driver.open()) for _ in range(sessions)]
        gc.collect()
        after = resident_bytes()
        traced = None
        if driver.spec.driver == OURS:
            tracemalloc.start()
            base = tracemalloc.get_traced_memory()[0]
            more = [loop.run(driver.open()) for _ in range(max(1, sessions // 10))]
            gc.collect()
            traced = (tracemalloc.get_traced_memory()[0] - base) / len(more)
            tracemalloc.stop()
            held += more
        for session in held:
            loop.run(driver.close(session))
    resident = None if before is None or after is None else (after - before) / sessions
    yield {"resident": resident, "traced": traced}


def storm(*, client: dict[str, Any], place: dict[str, Any], count: int, concurrency: int) -> Iterator[dict[str, Any]]:
    """Many connects at a time from one event loop, and how late that loop was for everything else."""
    yield _loop_job(_client(client, place), count, concurrency)


def quiet(*, client: dict[str, Any], place: dict[str, Any], count: int, concurrency: int) -> Iterator[dict[str, Any]]:
    """How late an event loop is that does nothing, while a process beside it storms: what the machine itself costs."""
    from .children import Child  # noqa: PLC0415 - this job alone has a child

    with Child("storm", client=client, place=place, count=count, concurrency=concurrency) as child:
        done = threading.Event()

        def wait() -> None:
            try:
                child.result()
            finally:
                done.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        yield {"stalls": _stalls(asyncio.run(_tick(done.is_set)))}
        waiting.join()


def connects(*, client: dict[str, Any], place: dict[str, Any], count: int, edge: int) -> Iterator[dict[str, Any]]:
    """One connect after the other: what the first and the last of them cost, and what they leave behind."""
    driver = _client(client, place)
    wall, cpu = [], []
    with Loop() as loop:
        for _ in range(edge):
            loop.run(driver.close(loop.run(driver.open())))
        gc.collect()
        before = resident_bytes()
        for _ in range(count):
            at, used = time.perf_counter_ns(), time.process_time_ns()
            session = loop.run(driver.open())
            loop.run(driver.close(session))
            wall.append((time.perf_counter_ns() - at) / 1e9)
            cpu.append((time.process_time_ns() - used) / 1e9)
        gc.collect()
        after = resident_bytes()
    first, last = slice(0, edge), slice(-edge, None)
    yield {
        "first": {"wall": summary(wall[first]), "cpu": summary(cpu[first])},
        "last": {"wall": summary(wall[last]), "cpu": summary(cpu[last])},
        "resident_before": before,
        "resident_after": after,
    }


def scram_server(*, password: str) -> Iterator[dict[str, Any]]:
    """A server that does TLS and SCRAM and no more, for as long as somebody listens."""
    from ..testing import CertificateAuthority, ScramServer  # noqa: PLC0415 - needs an extra

    authority = CertificateAuthority()
    with ScramServer({"bench": password}, authority.issue("127.0.0.1"), engine="stdlib", timeout=60) as server:
        yield {"port": server.port, "root": authority.root_pem.decode("ascii")}
        sys.stdin.read()


def delay(*, host: str, port: int, rtt: float) -> Iterator[dict[str, Any]]:
    """A network in between; see `babar_tls.bench.network`."""
    from .network import DelayProxy  # noqa: PLC0415 - for this job alone

    with DelayProxy(host, port, rtt) as proxy:
        yield {"port": proxy.port}
        sys.stdin.read()


JOBS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    job.__name__: job for job in (memory, storm, quiet, connects, scram_server, delay)
}


def main() -> None:
    """Run the job that standard input names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked = json.loads(sys.stdin.readline())
    try:
        for answer in JOBS[asked["job"]](**asked["arguments"]):
            print(json.dumps(answer), flush=True)  # noqa: T201 - this is the way to the parent
    except BrokenPipeError:
        os._exit(0)  # nobody listens any more, and the interpreter's last flush would complain
    except Exception as exc:  # a driver's, or the parent's mistake: it is the parent that tells
        print(json.dumps({"error": f"{type(exc).__name__}: {exc}"}), flush=True)  # noqa: T201 - as above


def _client(spec: dict[str, Any], place: dict[str, Any]) -> Client:
    return make(Spec(**spec), Place(**place))


def _loop_job(driver: Client, count: int, concurrency: int) -> dict[str, Any]:
    failures: list[str] = []

    async def work(remaining: Iterator[int]) -> None:
        for _ in remaining:
            try:
                session = await driver.open()
                closing = driver.close(session)
                if closing is not None:
                    await closing
            except Exception as exc:  # it counts, whatever it is
                failures.append(f"{type(exc).__name__}: {str(exc).partition(chr(10))[0]}")

    async def everything() -> tuple[list[float], float, float, float | None]:
        await work(iter(range(2)))  # what is loaded at the first use
        failures.clear()
        finished = False
        ticking = asyncio.ensure_future(_tick(lambda: finished))
        await asyncio.sleep(0)
        busy = busy_seconds()
        wall, cpu = time.perf_counter(), time.process_time()
        remaining = iter(range(count))
        await asyncio.gather(*(work(remaining) for _ in range(min(concurrency, count))))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        busy_after = busy_seconds()
        finished = True
        cores = None if busy is None or busy_after is None else (busy_after - busy) / wall / (os.cpu_count() or 1)
        return await ticking, wall, cpu, cores

    lateness, wall, cpu, busy = asyncio.run(everything())
    return {
        "seconds": wall,
        "cpu_per_connect": cpu / count,
        "busy": busy,
        "failed": len(failures),
        "errors": list(dict.fromkeys(failures))[:_REMEMBERED],
        "stalls": _stalls(lateness),
    }


async def _tick(finished: Callable[[], bool]) -> list[float]:
    lateness = []
    while not finished():
        before = time.perf_counter()
        await asyncio.sleep(_TICK)
        lateness.append(max(0.0, time.perf_counter() - before - _TICK))
    return lateness


def _stalls(lateness: list[float]) -> list[float]:
    """The longest, longest first."""
    return sorted(lateness, reverse=True)[:_WORST] or [0.0]
