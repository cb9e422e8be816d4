"""The workload `kdf`, and facts about the machine."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.bench import machine
from babar_tls.bench.timing import Series
from babar_tls.bench.workloads import kdf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return kdf.measure(iterations=50, rounds=2)


@pytest.fixture
def compiled() -> Iterator[ModuleType]:
    """Return the compiled helper, and restore its kernel afterwards."""
    module = pytest.importorskip("babar_tls._native.compiled")
    before = module.selected()
    yield module
    module.select(before)


def test_document_has_parameters_and_machine(document: dict[str, Any]) -> None:
    assert json.loads(json.dumps(document)) == document
    assert (document["workload"], document["schema"]) == ("kdf", 2)
    assert document["parameters"] == {"iterations": 50, "rounds": 2, "bulk": kdf.BULK}
    assert document["machine"]["python"]
    assert "OpenSSL" in document["machine"]["openssl"] or "LibreSSL" in document["machine"]["openssl"]


def test_every_kernel_is_measured(document: dict[str, Any], compiled: ModuleType) -> None:
    measured = [(item["what"], item["kernel"]) for item in document["derivations"]]
    kernels = [name for name, capable in compiled.kernels().items() if capable]
    assert measured[0] == ("one", None)
    assert [item for item in measured if item[1]] == [("one", name) for name in kernels] + [("bulk", kernels[0])]
    assert document["derivations"][0]["times_hashlib"] == 1


def test_ratios_are_of_minima_and_of_medians(document: dict[str, Any]) -> None:
    reference = document["derivations"][0]["wall"]
    for item in [*document["derivations"], *document["end_point"]]:
        for clock in ("wall", "cpu"):
            assert 0 <= item[clock]["min"] <= item[clock]["median"]
    for item in document["derivations"]:
        assert item["times_hashlib"] == pytest.approx(reference["min"] / item["wall"]["min"])
        assert item["times_hashlib_median"] == pytest.approx(reference["median"] / item["wall"]["median"])


def test_end_point_hash_is_of_an_rsa_certificate(document: dict[str, Any]) -> None:
    pytest.importorskip("cryptography.x509")
    assert document["certificate"]["key"] == "rsa2048"
    assert 1100 < document["certificate"]["bytes"] < 1300
    names = {item["name"] for item in document["end_point"]}
    assert {"end-point: tls_server_end_point", "end-point: pure Python"} <= names


@pytest.mark.parametrize("fails", [False, True])
def test_selected_kernel_is_restored(compiled: ModuleType, monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> None:
    compiled.select("portable")
    if fails:

        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            kdf.measure(iterations=1, rounds=1, advance=interrupt)
    else:
        kdf.measure(iterations=1, rounds=1)
    assert compiled.selected() == "portable"


def test_missing_helper_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "babar_tls._native.compiled", None)
    monkeypatch.delattr("babar_tls._native.compiled", raising=False)
    document = kdf.measure(iterations=1, rounds=1)
    assert {item["kernel"] for item in document["derivations"]} == {None}
    assert "compiled helper" in [item["name"] for item in document["missing"]]
    assert document["call"] is None


def test_missing_cryptography_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] == "cryptography" or name == "babar_tls.testing.certificates":
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setattr(kdf, "_certificate", lambda document: document.add_missing("end-point hash", "x"))
    document = kdf.measure(iterations=1, rounds=1)
    assert {"cryptography", "end-point hash"} <= {item["name"] for item in document["missing"]}
    assert (document["certificate"], document["end_point"]) == (None, [])
    assert document["machine"]["cryptography"] is None


@pytest.mark.parametrize(
    ("known", "seconds", "hz", "source"),
    [
        ([4e9], 1.0, 4e9, "cpuinfo"),
        ([2e9, 3e9], 1e-9, 260e9, "floor"),
        ([], 1.0, 260.0, "floor"),
    ],
)
def test_clock_rate_is_at_least_that_of_the_fastest_chain(
    known: list[float], seconds: float, hz: float, source: str
) -> None:
    clock = kdf._clock(known, {"sha-ni": Series([seconds], [seconds])}, 1)
    assert (clock["hz"], clock["source"]) == (pytest.approx(hz), source)


def test_clock_rate_is_unknown_without_cpuinfo_and_chain() -> None:
    assert kdf._clock([], {}, 1)["hz"] is None


def test_cpuinfo_has_model_and_fastest_clock_rate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: Good CPU\ncpu MHz\t\t: 900.5\nmodel name\t: Good CPU\ncpu MHz\t\t: 2000.0\n")
    monkeypatch.setattr(machine, "_CPU_INFO", path)
    assert machine.describe_machine()["cpu"] == "Good CPU"
    assert machine.cpu_clock_hz() == 2e9
    path.unlink()
    assert machine.cpu_clock_hz() is None


def test_busy_time_excludes_idle_ticks_and_counts_guests_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "stat"
    path.write_text("cpu  100 20 30 4000 500 6 7 8 90 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    monkeypatch.setattr(machine, "_STATISTICS", path)
    assert machine.busy_seconds() == 171 / os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(machine, "_STATISTICS", tmp_path / "none")
    assert machine.busy_seconds() is None
