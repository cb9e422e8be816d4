"""Servers, event loops and checks that the tests of this package share.

Each test module assigns the fixtures that it uses::

    no_leaks, no_leaked_threads = lifetime.no_leaks, lifetime.no_leaked_threads
    backend = lifetime.backend
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hostile.scripts import PASSWORD, READY, data_row, log_in, receive_until_closed

import babar_tls
from babar_tls import AsyncSession, Config, Error, available_backends
from babar_tls.testing import CertificateAuthority, ScramServer, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from babar_tls.testing import ScriptedPeer, ServerCertificate

_T = TypeVar("_T")

#: The exhaustive form repeats the random tests some thousand times.
EXHAUSTIVE = os.environ.get("BABAR_TLS_EXHAUSTIVE") == "1"
#: Seconds in which something immediate must happen, on a busy machine.
IMMEDIATE = 5.0
#: Longer than any wait of a test, so that a test cannot pass because of a timeout.
FAR_TIMEOUT = 100.0
_LINGER = 3.0  # seconds that an idle thread of the library may live
_ROW = b"D" + struct.pack("!i", 4 + len(data_row(b"1"))) + data_row(b"1")
_ROWS = b"".join(
    b"d" + struct.pack("!i", 4 + len(row)) + row for row in (b"row %d\n" % number + bytes(1000) for number in range(50))
)

_problems: list[str] = []

try:
    import uvloop
except ImportError:
    pass  # some platforms have no wheels
else:
    uvloop.new_event_loop().close()  # the first loop opens a pipe that the process keeps


def repeat(short: int, long: int) -> int:
    """Return the number of repetitions in the selected form of the tests."""
    return long if EXHAUSTIVE else short


def randomness(seed: int = 0) -> random.Random:
    """Return a source of random times."""
    return random.Random(seed)  # noqa: S311 - times, not secrets


# Leaks


def descriptors() -> Counter[str]:
    """Count the sockets, pipes and pollers that this process has open.

    Files are excluded: libraries open some on first use and keep them.
    """
    found: Counter[str] = Counter()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115 - the target of a socket's link is not a path
        except OSError:
            continue  # the descriptor of the listing itself
        if not target.startswith("/"):
            found[target] += 1
    return found


def sockets_to(port: int) -> int:
    """Count the TCP connections to the port that this process has open."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    there = {f"socket:[{line[9]}]" for line in lines if int(line[2].partition(":")[2], 16) == port}
    return sum(count for target, count in descriptors().items() if target in there)


def wait_until(condition: Callable[[], object], seconds: float = IMMEDIATE) -> bool:
    """Wait for a condition; return True if it became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _described(left: set[str]) -> list[str]:
    """Add the addresses and the state of TCP sockets to the identities of descriptors."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    known = {f"socket:[{row[9]}]": " ".join(row[1:5]) for row in rows}
    return [f"{target} {known.get(target, '')}" for target in sorted(left)]


def _is_of_the_library(thread: threading.Thread) -> bool:
    return thread.name.startswith("babar-tls")


def _other_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not _is_of_the_library(thread)}


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Check that a test leaks no descriptor and no thread, and that no error was reported to a hook.

    Descriptors must be closed without the garbage collector. `no_leaked_threads` checks the threads of the library,
    which may wait for more work.
    """
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to count open descriptors")
    _problems.clear()
    before, threads = descriptors(), _other_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", _note_unraisable)
        patch.setattr(threading, "excepthook", _note_thread)
        yield
        wait_until(lambda: not descriptors() - before)
        assert not descriptors() - before, f"leaked descriptors: {_described(descriptors() - before)}"
        assert wait_until(lambda: _other_threads() <= threads), "leaked threads"
        gc.collect()
    assert _problems == [], f"errors reported to hooks: {_problems}"


@pytest.fixture(scope="module", autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Check that the threads of the library end soon after the last test of a module."""
    yield
    assert wait_until(lambda: not any(map(_is_of_the_library, threading.enumerate())), _LINGER + IMMEDIATE)


def _note_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    _problems.append(f"unraisable: {unraisable.exc_value!r} {unraisable.err_msg or 'in'} {unraisable.object!r}")


def _note_thread(arguments: threading.ExceptHookArgs) -> None:
    name = arguments.thread.name if arguments.thread is not None else "?"
    _problems.append(f"exception in thread {name}: {arguments.exc_value!r}")


def note_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle an error of an event loop: `no_leaks` then fails the test."""
    _problems.append(f"event loop: {context.get('message')}: {context.get('exception')!r}")


def run(
    main: Callable[[], Coroutine[Any, Any, _T]],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    debug: bool = False,
) -> _T:
    """Run a coroutine as `asyncio.run` does, and check that it leaves no task."""

    async def checked() -> _T:
        asyncio.get_running_loop().set_exception_handler(note_loop_error)
        result = await main()
        await assert_no_other_task()
        return result

    with asyncio.Runner(loop_factory=loop_factory, debug=debug) as runner:
        return runner.run(checked())


async def assert_no_other_task() -> None:
    """Check that the current task is the only one, after a short wait."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Outcomes of connects


async def outcome(connecting: Awaitable[AsyncSession]) -> str:
    """Await a connect, close its session, and return the outcome; unexpected errors are raised."""
    try:
        session = await connecting
    except asyncio.CancelledError:
        return "cancelled"
    except (Error, TimeoutError) as error:
        return type(error).__name__
    await session.close()
    return "session"


def assert_outcomes(ends: Counter[str], *expected: str) -> None:
    """Check that connects had no other outcomes, and in the exhaustive form that each outcome occurred."""
    assert set(ends) == set(expected) if EXHAUSTIVE else set(ends) <= set(expected)


async def measure(config: Config, width: int = 1) -> float:
    """Return the median seconds of a connect while `width` of them run at the same time."""

    async def several() -> list[float]:
        times = []
        for _ in range(4):
            start = time.perf_counter()
            session = await AsyncSession.connect(config)
            times.append(time.perf_counter() - start)
            await session.close()
        return times

    times = [seconds for each in await asyncio.gather(*(several() for _ in range(width))) for seconds in each]
    return sorted(times)[len(times) // 2]


def moment(source: random.Random, seconds: float) -> float:
    """Return a random time within a connect of this duration: any time, or one close to its end."""
    if source.random() < 0.5:
        return source.uniform(0, 1.2 * seconds)
    return max(0.0, source.gauss(seconds, 0.2 * seconds))


# Servers


def silent(peer: ScriptedPeer) -> None:
    """Accept the connection and send nothing."""
    receive_until_closed(peer)


def dripping(peer: ScriptedPeer) -> None:
    """Send a TLS handshake message of 16 kB in single bytes."""
    peer.receive_startup()
    peer.send(b"S")
    peer.receive_exactly(5)  # bytes before the ClientHello would be refused as an injection
    peer.drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xf0" + bytes(16000), 0.002)


def answer_queries(certificate: ServerCertificate | None) -> Callable[[ScriptedPeer], None]:
    """Return a script that answers queries with a row, copies with endless rows, and "silence" with nothing."""

    def script(peer: ScriptedPeer) -> None:
        if certificate is not None:
            peer.accept_tls(certificate)
        try:
            log_in(peer, certificate.der if certificate is not None else None)
            while True:
                head = peer.receive_exactly(5)
                length = struct.unpack("!i", head[1:])[0] - 4
                if length > 1_000_000:
                    time.sleep(0.3)  # the client has to wait until it can send
                kind, payload = head[:1], peer.receive_exactly(length)
                if kind != b"Q":
                    return
                if b"silence" in payload:
                    receive_until_closed(peer)
                    return
                if b"copy" in payload:
                    peer.send_message(b"H", b"\0\0\0")
                    while True:
                        peer.send(_ROWS)
                peer.send(_ROW + b"C\0\0\0\x0dSELECT 1\0" + READY)
        except OSError:
            pass  # the client has left

    return script


def query_server(certificate: ServerCertificate | None) -> ScriptedServer:
    """Return a server that runs `answer_queries`."""
    return ScriptedServer(answer_queries(certificate), timeout=FAR_TIMEOUT)


@pytest.fixture(params=["stdlib", "openssl", "rustls"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param not in available_backends():
        pytest.skip(f"backend {request.param} is not installed")
    return request.param


@pytest.fixture(scope="module")
def certificate() -> ServerCertificate:
    return CertificateAuthority().issue("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def root(certificate: ServerCertificate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("connecting") / "root.crt"
    path.write_bytes(certificate.root_pem)
    return path


@pytest.fixture(scope="module")
def config(root: Path) -> Config:
    """Return a configuration that verifies the server; the test replaces `port`."""
    return Config(
        host="127.0.0.1",
        port=1,
        user="app",
        password=PASSWORD,
        connect_timeout=FAR_TIMEOUT,
        tls_root_cert_path=str(root),
        tls_default_roots=False,
        scram_key_cache=False,
    )


@pytest.fixture(scope="module")
def honest(certificate: ServerCertificate) -> Iterator[ScramServer]:
    """Return a server that clients can log in to."""
    with ScramServer({"app": PASSWORD}, certificate, timeout=FAR_TIMEOUT) as server:
        yield server


@pytest.fixture(scope="module")
def ports(honest: ScramServer) -> Iterator[dict[str, int]]:
    """Return the ports of an honest server, a silent and a dripping one."""
    with (
        ScriptedServer(silent, timeout=FAR_TIMEOUT) as silent_server,
        ScriptedServer(dripping, timeout=FAR_TIMEOUT) as dripping_server,
    ):
        yield {"honest": honest.port, "silent": silent_server.port, "dripping": dripping_server.port}


# Programs


class Program:
    """A Python program that has ended.

    Attributes:
        status: Its exit status.
        output: The lines of its standard output, except those with a name and a number.
        errors: Its standard error.
        moments: The numbers that it printed, by name (``name=1.5``).
        ended: The time at which it had ended, by `time.monotonic`.
    """

    def __init__(self, code: str, *arguments: object, options: tuple[str, ...] = ()) -> None:
        package = Path(babar_tls.__file__).parent.parent
        environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONFAULTHANDLER": ""}
        command = [sys.executable, *options, "-c", code, *map(str, arguments)]
        done = subprocess.run(  # noqa: S603 - this Python
            command, capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=package
        )
        self.ended = time.monotonic()
        self.status = done.returncode
        self.errors = done.stderr
        lines = done.stdout.splitlines()
        self.moments = {name: float(value) for name, _, value in (line.partition("=") for line in lines) if value}
        self.output = [line for line in lines if "=" not in line]

    def assert_clean_exit(self, status: int = 0) -> None:
        """Check its exit status, that it reported no error, and that it ended soon after it printed ``end=…``."""
        assert (self.status, self.errors) == (status, ""), f"exit status {self.status}, standard error:\n{self.errors}"
        assert self.ended - self.moments["end"] < IMMEDIATE, "the program ended too late"


#: The beginning of a program: `target(port)` is the configuration to connect with.
PREAMBLE = """
import asyncio, gc, os, random, signal, sys, threading, time, warnings
from babar_tls import AsyncSession, Closed, Config, Error, IoError, Session

backend, root, seed, *ports = sys.argv[1:]
ports = [int(port) for port in ports]
random.seed(int(seed))
warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork", DeprecationWarning)

def target(port, **options):
    settings = dict(host="127.0.0.1", port=port, user="app", password="a secret of ours", connect_timeout=100,
                    tls_root_cert_path=root, tls_default_roots=False, tls_backend=backend, scram_key_cache=False)
    return Config(**{**settings, **options})

def end():
    print(f"end={time.monotonic()}", flush=True)

def without_pending_tasks(loop, context):
    if "was destroyed but it is pending" not in context["message"]:
        loop.default_exception_handler(context)
"""
