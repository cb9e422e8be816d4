"""Servers that send endlessly: their connects end on time and do not slow down honest connects."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from babar_tls import AsyncSession, Config, IoError, ProtocolError, TimeoutError, TlsError

from .clients import ATTEMPTS, LATENESS, Attack, Memory, Times, no_leaks, rounds, run
from .peers import FLOODS

if TYPE_CHECKING:
    from .peers import PeerProcess

ATTACKERS = 8
TIMEOUT = 1.0  # the connect_timeout of the attacked connects, in seconds
GROWTH = 20  # MiB


def attacked(config: Config, flooding: PeerProcess, kind: str, connect_timeout: float | None) -> Config:
    """Return the configuration of a connect to the server of this kind."""
    wanted = "read-write" if kind.endswith("for_answer") else "any"
    return config.replace(port=flooding.ports[kind], connect_timeout=connect_timeout, target_session_attrs=wanted)


@dataclass
class Scenario:
    """Observations of one flood."""

    times: Times
    attack: Attack
    memory: Memory
    all_ended: bool
    seconds_until_disconnected: float


async def observe(config: Config, flooding: PeerProcess, kind: str) -> Scenario:
    await rounds(config)  # read files and create contexts
    times = Times(await rounds(config))
    attack = Attack(attacked(config, flooding, kind, TIMEOUT), ATTACKERS)
    memory = Memory()
    memory.reset()
    async with attack:
        await times.measure_during(config)
        all_ended = await attack.all_ended_once()
    left = asyncio.ensure_future(asyncio.to_thread(flooding.wait_until_disconnected, kind, LATENESS * TIMEOUT))
    memory.read()
    await times.measure_after(config)
    seconds_until_disconnected = await left
    flooding.check(kind)
    return Scenario(times, attack, memory, all_ended, seconds_until_disconnected)


@pytest.fixture(scope="module", params=FLOODS)
def flood(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def scenario(flood: str, config: Config, flooding: PeerProcess) -> tuple[Scenario, AssertionError | None]:
    """Observe one flood; return the observations, and the error of a leaked descriptor or thread."""
    observed, leak = None, None
    try:
        with no_leaks():
            for _ in range(ATTEMPTS):
                observed = run(observe(config, flooding, flood))
                if not observed.times.is_doubtful():
                    break
    except AssertionError as error:
        if observed is None:
            raise
        leak = error
    assert observed is not None
    return observed, leak


@pytest.fixture
def observed(scenario: tuple[Scenario, AssertionError | None]) -> Scenario:
    return scenario[0]


def test_flood_does_not_slow_down_honest_connects(observed: Scenario) -> None:
    observed.times.check()


def test_flooded_connects_end_on_time(observed: Scenario) -> None:
    assert observed.attack.failures == []
    assert observed.all_ended
    late = [outcome for outcome in observed.attack.outcomes if outcome.seconds > LATENESS * TIMEOUT]
    assert late == []


def test_flooded_connects_raise_an_error_of_the_connection(observed: Scenario) -> None:
    assert observed.attack.outcomes
    for outcome in observed.attack.outcomes:
        assert isinstance(outcome.error, ProtocolError | TlsError | TimeoutError | IoError), outcome


def test_socket_is_closed_when_the_error_arrives(observed: Scenario) -> None:
    assert observed.attack.outcomes
    assert [outcome.sockets for outcome in observed.attack.outcomes if outcome.sockets] == []


def test_server_sees_the_disconnection_on_time(observed: Scenario) -> None:
    assert observed.seconds_until_disconnected < LATENESS * TIMEOUT


def test_flood_does_not_exhaust_memory(observed: Scenario) -> None:
    if observed.memory.growth is None:
        pytest.skip("the peak of the resident set size cannot be reset here")
    assert observed.memory.growth < GROWTH


def test_flood_leaks_no_descriptor_or_thread(scenario: tuple[Scenario, AssertionError | None]) -> None:
    if scenario[1] is not None:
        raise scenario[1]


def test_flood_ends_without_connect_timeout(flood: str, config: Config, flooding: PeerProcess) -> None:
    """Without connect_timeout the number of bytes is limited."""

    async def main() -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            with pytest.raises((ProtocolError, TlsError, IoError)):
                await asyncio.wait_for(AsyncSession.connect(attacked(config, flooding, flood, None)), 5)
            return
        pytest.fail("the connect does not end during the flood")

    with no_leaks():
        run(main())
        assert flooding.wait_until_disconnected(flood, LATENESS * TIMEOUT) < LATENESS * TIMEOUT
