"""Servers that are slow, silent or demanding delay only their own connects."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from statistics import median
from typing import TYPE_CHECKING

import pytest

from babar_tls import AsyncSession, Config, _native
from babar_tls._native import fallback

from .clients import ATTEMPTS, SLOWDOWN, Attack, Times, attacks, connect_round, no_leaks, poll, rounds, run
from .peers import ITERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing import CertificateAuthority

    from .peers import PeerProcess

TIMEOUT = 20.0  # the connect_timeout of the attacked connects, in seconds: they last as long as the test
ATTACKERS = {"drip": 8, "silent": 100, "derivation": 12}
BLOCKED = 2.0  # seconds that a callable blocks

HELPERS = ["hashlib"] if _native.IMPLEMENTATION == "hashlib" else ["compiled", "hashlib"]


def attack(config: Config, slow: PeerProcess, kind: str) -> Attack:
    target = config.replace(port=slow.ports[kind], connect_timeout=TIMEOUT, scram_max_iterations=ITERATIONS)
    return Attack(target, ATTACKERS[kind])


async def measure(config: Config, *many: Attack) -> Times:
    """Measure honest connects before, during and after these attacks."""
    await rounds(config)  # read files and create contexts
    times = Times(await rounds(config))
    async with attacks(*many):
        await times.measure_during(config)
    await times.measure_after(config)
    return times


async def check_honest_connects(config: Config, slow: PeerProcess, *kinds: str) -> None:
    """Assert that honest connects are not slowed down during and after the attacks of these kinds."""
    for _ in range(ATTEMPTS):
        many = [attack(config, slow, kind) for kind in kinds]
        times = await measure(config, *many)
        assert [failure for attack in many for failure in attack.failures] == []
        if not times.is_doubtful():
            break
    for kind in kinds:
        slow.check(kind)
    times.check()


@pytest.fixture(autouse=True)
def leaks_nothing(backend: str, config: Config, slow: PeerProcess) -> Iterator[None]:
    with no_leaks():
        yield


@pytest.mark.parametrize("kind", ["drip", "silent"])
def test_slow_servers_do_not_slow_down_honest_connects(kind: str, config: Config, slow: PeerProcess) -> None:
    run(check_honest_connects(config, slow, kind))


@pytest.mark.parametrize("helper", HELPERS)
def test_derivations_do_not_slow_down_honest_connects(
    helper: str, config: Config, slow: PeerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    if helper == "hashlib":
        monkeypatch.setattr(_native, "functions", fallback)
    run(check_honest_connects(config, slow, "derivation"))


def test_combined_slow_servers_do_not_slow_down_honest_connects(
    new_event_loop: Callable[[], asyncio.AbstractEventLoop], config: Config, slow: PeerProcess
) -> None:
    run(check_honest_connects(config, slow, *ATTACKERS), new_event_loop)


def test_slow_servers_do_not_use_the_default_executor(config: Config, slow: PeerProcess) -> None:
    assert sum(ATTACKERS.values()) > min(32, (os.cpu_count() or 1) + 4)  # the threads of the default executor

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        seconds = []
        async with attacks(*(attack(config, slow, kind) for kind in ATTACKERS)):
            for _ in range(20):
                started = time.perf_counter()
                await asyncio.wait_for(loop.run_in_executor(None, threading.get_ident), TIMEOUT)
                seconds.append(time.perf_counter() - started)
                await asyncio.sleep(0.005)
        return seconds

    assert median(run(main())) < TIMEOUT / 100


@pytest.fixture
def client_files(authority: CertificateAuthority) -> dict[str, bytes]:
    """Return the fields of `Config` for a client certificate with an encrypted key."""
    client = authority.issue(usage="client", common_name="app")
    key = client.private_key(password=b"opens the key")
    return {"tls_client_cert": client.certificate_pem, "tls_client_key": key}


class BlockingPassword:
    """A callable that returns the password of the key after `release` is set, or after `BLOCKED` seconds."""

    def __init__(self) -> None:
        self.calls = 0
        self.release = threading.Event()

    def __call__(self) -> str:
        self.calls += 1
        self.release.wait(BLOCKED)
        return "opens the key"


@pytest.mark.parametrize("count", [1, 4])
def test_blocking_password_callable_delays_only_its_own_connect(
    count: int, config: Config, client_files: dict[str, bytes]
) -> None:
    """Each connect has its own callable. Four are more than can compute at the same time."""
    passwords = [BlockingPassword() for _ in range(count)]

    async def main() -> None:
        await rounds(config)
        before = await rounds(config)
        blocked = [
            asyncio.ensure_future(
                AsyncSession.connect(config.replace(**client_files, tls_client_key_password=password))
            )
            for password in passwords
        ]
        try:
            assert await poll(lambda: all(password.calls for password in passwords), BLOCKED / 2)
            during = await connect_round(config)
            assert not any(task.done() for task in blocked)
            assert during <= SLOWDOWN * median(before)
        finally:
            for password in passwords:
                password.release.set()
            for session in await asyncio.gather(*blocked):
                await session.close()

    run(main())
