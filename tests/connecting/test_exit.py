"""Programs that end during a connect exit immediately, with their own exit status and no output."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from . import lifetime
from .lifetime import EXHAUSTIVE, PREAMBLE, Program, randomness, repeat

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

no_leaks, no_leaked_threads = lifetime.no_leaks, lifetime.no_leaked_threads
backend, certificate, root, honest, ports = (
    lifetime.backend,
    lifetime.certificate,
    lifetime.root,
    lifetime.honest,
    lifetime.ports,
)

_AT_A_TIME = 3
_SERVERS = ["honest", "silent", "dripping"]

TIMEOUTS = """
async def main():
    for _ in range(6):
        port = random.choice(ports)
        try:
            session = await asyncio.wait_for(AsyncSession.connect(target(port)), random.uniform(0, 0.02))
        except TimeoutError:
            continue
        await session.close()

asyncio.run(main())
end()
"""


@pytest.mark.timeout(900)
def test_program_exits_cleanly_after_timed_out_connects(backend: str, root: Path, ports: Mapping[str, int]) -> None:
    """The connects time out at any point of the handshake, while their threads are inside the TLS library."""
    source = randomness()
    choices = [[ports["honest"]], list(ports.values())]
    seeds = [source.randrange(1 << 30) for _ in range(repeat(8, 100))]

    def one(seed: int) -> Program:
        return Program(PREAMBLE + TIMEOUTS, backend, root, seed, *choices[seed % 2])

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for program in pool.map(one, seeds):
            program.assert_clean_exit()


ENDINGS = {
    # The connect is not cancelled and the event loop is not closed.
    "loop not closed": """
loop = asyncio.new_event_loop()
loop.set_exception_handler(without_pending_tasks)
task = loop.create_task(AsyncSession.connect(target(ports[0])))
loop.run_until_complete(asyncio.sleep(random.uniform(0, 0.03)))
end()
""",
    "loop closed": """
loop = asyncio.new_event_loop()
loop.set_exception_handler(without_pending_tasks)
task = loop.create_task(AsyncSession.connect(target(ports[0])))
loop.run_until_complete(asyncio.sleep(random.uniform(0, 0.03)))
loop.close()
end()
""",
    "task cancelled, loop not run again": """
loop = asyncio.new_event_loop()
loop.set_exception_handler(without_pending_tasks)
task = loop.create_task(AsyncSession.connect(target(ports[0])))
loop.run_until_complete(asyncio.sleep(random.uniform(0, 0.03)))
task.cancel()
end()
""",
    "many connects": """
loop = asyncio.new_event_loop()
loop.set_exception_handler(without_pending_tasks)
tasks = [loop.create_task(AsyncSession.connect(target(port))) for port in ports * 10]
loop.run_until_complete(asyncio.sleep(random.uniform(0, 0.1)))
end()
""",
    "sys.exit in a coroutine": """
async def main():
    task = asyncio.ensure_future(AsyncSession.connect(target(ports[0])))
    await asyncio.sleep(random.uniform(0, 0.03))
    end()
    sys.exit()

asyncio.run(main())
""",
    "sys.exit in a coroutine of a loop that is not closed": """
async def main():
    await asyncio.sleep(random.uniform(0, 0.03))
    end()
    sys.exit()

loop = asyncio.new_event_loop()
loop.set_exception_handler(without_pending_tasks)
task = loop.create_task(AsyncSession.connect(target(ports[0])))
loop.run_until_complete(main())
""",
    "interrupted": """
async def main():
    await AsyncSession.connect(target(ports[0]))
    await asyncio.sleep(10)

threading.Timer(random.uniform(0.01, 0.05), signal.pthread_kill, (threading.get_ident(), signal.SIGINT)).start()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    end()
""",
    "loop in a daemon thread": """
async def main():
    begun.set()
    session = await AsyncSession.connect(target(ports[0]))
    await asyncio.sleep(100)

begun = threading.Event()
threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
begun.wait(10)
time.sleep(random.uniform(0, 0.03))
end()
""",
    "uvloop not closed": """
import uvloop
loop = uvloop.new_event_loop()
loop.set_exception_handler(without_pending_tasks)
task = loop.create_task(AsyncSession.connect(target(ports[0])))
loop.run_until_complete(asyncio.sleep(random.uniform(0, 0.03)))
end()
""",
    "name lookup in progress": """
import socket
socket.getaddrinfo = lambda *arguments, **options: time.sleep(60)
loop = asyncio.new_event_loop()
loop.set_exception_handler(without_pending_tasks)
task = loop.create_task(AsyncSession.connect(target(ports[0], host="localhost")))
loop.run_until_complete(asyncio.sleep(0.03))
end()
""",
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("ending", ENDINGS)
def test_program_exits_cleanly_during_a_connect(
    backend: str, ending: str, root: Path, ports: Mapping[str, int]
) -> None:
    """Neither the program nor its event loop cancels the connect."""
    if "uvloop" in ending:
        pytest.importorskip("uvloop")
    source = randomness()
    # The short form uses one kind of server for each backend and ending.
    turn = list(ENDINGS).index(ending) + ["stdlib", "openssl", "rustls"].index(backend)
    kinds = _SERVERS * 10 if EXHAUSTIVE else [_SERVERS[turn % 3]]

    def one(kind: str) -> Program:
        return Program(PREAMBLE + ENDINGS[ending], backend, root, source.randrange(1 << 30), ports[kind])

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for program in pool.map(one, kinds):
            program.assert_clean_exit()


EXIT_STATUS = """
async def main():
    task = asyncio.ensure_future(AsyncSession.connect(target(ports[0])))
    await asyncio.sleep(0.02)
    end()
    sys.exit(3)

asyncio.run(main())
"""


def test_exit_status_is_kept_during_a_connect(backend: str, root: Path, ports: Mapping[str, int]) -> None:
    Program(PREAMBLE + EXIT_STATUS, backend, root, 0, ports["silent"]).assert_clean_exit(3)


AFTER_THE_MAIN_THREAD = """
async def main():
    connecting = [asyncio.ensure_future(AsyncSession.connect(target(ports[0]))) for _ in range(5)]
    for task in connecting:
        await (await task).close()
    begun.set()
    while threading.main_thread().is_alive():  # executors are not available after its end
        await asyncio.sleep(0.01)
    for _ in range(5):
        try:
            session = await AsyncSession.connect(target(ports[0]))
        except IoError as error:
            # Python 3.12 and later may refuse to start a thread then.
            assert sys.version_info >= (3, 12) and "cannot start a thread" in error.message, error
            break
        assert len(await session.query("select 1")) == 1
        await session.close()
    print("connected", flush=True)
    end()

begun = threading.Event()
threading.Thread(target=asyncio.run, args=(main(),)).start()
begun.wait(60)
"""


def test_thread_that_outlives_the_main_thread_can_connect(backend: str, root: Path, ports: Mapping[str, int]) -> None:
    """A program has not ended while a non-daemon thread runs."""
    program = Program(PREAMBLE + AFTER_THE_MAIN_THREAD, backend, root, 0, ports["honest"])
    program.assert_clean_exit()
    assert program.output == ["connected"]


WAITING_FOR_A_DAEMON = """
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()

def work():
    threading.main_thread().join()
    try:
        asyncio.run_coroutine_threadsafe(AsyncSession.connect(target(ports[0])), loop).result(60)
    except IoError as error:
        print(error.message, flush=True)
    end()

threading.Thread(target=work).start()
"""


def test_connect_in_a_daemon_thread_at_exit_is_an_error(backend: str, root: Path, ports: Mapping[str, int]) -> None:
    program = Program(PREAMBLE + WAITING_FOR_A_DAEMON, backend, root, 0, ports["silent"])
    program.assert_clean_exit()
    assert program.output == ["cannot start a thread for the connect"]


CONNECTING_DAEMON = """
async def main():
    asyncio.get_running_loop().set_exception_handler(without_pending_tasks)
    while True:
        asyncio.ensure_future(AsyncSession.connect(target(ports[0]))).add_done_callback(lambda task: task.exception())
        await asyncio.sleep(0.02)

threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
time.sleep(0.2)
end()
"""


def test_connecting_daemon_thread_does_not_delay_the_exit(backend: str, root: Path, ports: Mapping[str, int]) -> None:
    Program(PREAMBLE + CONNECTING_DAEMON, backend, root, 0, ports["silent"]).assert_clean_exit()
