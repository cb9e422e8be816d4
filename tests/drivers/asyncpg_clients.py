"""What the tests of the asyncpg integration share: event loops, a configuration, causes of errors, resources."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import types
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from babar_tls.net.thread_pool import THREAD_NAME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from babar_tls import Config
    from babar_tls.testing import PostgresServer

_T = TypeVar("_T")
LIMIT = 40.0  # seconds for one test; a hang must fail and not run into the timeout of pytest

LOOPS = [
    "asyncio",
    pytest.param("uvloop", marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")),
]
both_loops = pytest.mark.parametrize("loop", LOOPS)


def config(server: PostgresServer, backend: str = "stdlib", **overrides: Any) -> Config:
    """Return the configuration of a role that authenticates with channel binding."""
    required = {"channel_binding": "require"} if server.tls else {"require_auth": "scram-sha-256"}
    return server.config(**{"user": "app", "password": "secret", "tls_backend": backend, **required, **overrides})


def run(main: Callable[[], Awaitable[_T]], loop: str = "asyncio", *, debug: bool = False) -> _T:
    """Run a coroutine. Fail if it left a task, or if the exception handler of the loop was called."""
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    reports: list[dict[str, Any]] = []

    async def supervised() -> _T:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
        async with asyncio.timeout(LIMIT):
            result = await main()
            while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - tasks that are about to end
                await asyncio.sleep(0.01)
        gc.collect()  # a future whose exception was not retrieved reports it when it is collected
        return result

    with warnings.catch_warnings(), asyncio.Runner(debug=debug, loop_factory=factory) as runner:
        try:
            result = runner.run(supervised())
        except BaseException:
            # A failed test may leave a transport open. If the warning of that is an error, uvloop hangs in `close`.
            warnings.simplefilter("ignore", ResourceWarning)
            raise
    assert not reports
    return result


def causes(error: BaseException | None) -> list[type[BaseException]]:
    """Return the classes of an error and of its causes."""
    found = []
    while error is not None:
        found.append(type(error))
        error = error.__cause__ or error.__context__
    return found


def resources() -> tuple[list[str], int]:
    """Return the open sockets, and the number of threads. libuv keeps pipes for the whole process."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115 - the link of a socket is not a path
        except OSError:
            continue  # the descriptor of iterdir()
        if target.startswith("socket:"):
            links.append(target)
    return sorted(links), sum(thread.name != THREAD_NAME for thread in threading.enumerate())


def reachable(start: object) -> list[object]:
    """Return the objects that can be reached from `start`, except through modules, classes, functions and coroutines.

    The event loop may refer to the coroutine of the test, which has the password.
    """
    walls = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.FrameType, types.CodeType)
    walls += (types.CoroutineType,)
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, walls):
            continue
        seen[id(each)] = each
        waiting += gc.get_referents(each)
        if not gc.is_tracked(each):
            continue
        for name in getattr(type(each), "__slots__", ()):  # what an extension type hides from the collector
            waiting += [getattr(each, name, None)] if isinstance(name, str) and not name.startswith("__") else []
    return list(seen.values())


def run_script(script: str, *arguments: str) -> str:
    """Run Python code in a process of its own, where memory can be measured; return what it prints."""
    command = [sys.executable, "-W", "error", "-c", script, *arguments]
    process = subprocess.run(  # noqa: S603 - the test's own code
        command, capture_output=True, text=True, timeout=LIMIT * 2, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout
