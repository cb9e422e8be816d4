"""Comparison of two documents, and documents in files."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

import pytest

from babar_tls.bench.compare import compare, metrics
from babar_tls.bench.document import load
from babar_tls.bench.workloads.all import WORKLOADS
from babar_tls.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from .document_cache import DocumentCache


@pytest.mark.parametrize("workload", WORKLOADS)
def test_document_equals_itself(documents: DocumentCache, workload: str) -> None:
    document = documents[workload]
    comparison = compare(document, document)
    assert (comparison["warnings"], comparison["gone"], comparison["added"]) == ([], [], [])
    assert len(comparison["cases"]) == len(list(metrics(document))) > 0
    assert {item["ratio"] for item in comparison["cases"]} <= {1.0, None}
    assert {item["better"] for item in comparison["cases"]} == {None}


def test_less_time_and_more_throughput_are_better(documents: DocumentCache) -> None:
    old, new = documents["stream"], copy.deepcopy(documents["stream"])
    first, second, third = new["cases"][:3]
    first["megabytes_per_second"] *= 2
    second["cpu_per_gigabyte"] *= 2
    third["cpu_per_gigabyte"] *= 1.01
    found = {(item["case"], item["what"]): item["better"] for item in compare(old, new)["cases"]}
    assert found[first["name"], "throughput"] is True
    assert found[second["name"], "client CPU for a gigabyte"] is False
    assert found[third["name"], "client CPU for a gigabyte"] is None


def test_differences_between_the_runs_are_warnings(documents: DocumentCache) -> None:
    """Another machine, version or parameter is a warning; another load is not."""
    old, new = documents["storm"], copy.deepcopy(documents["storm"])
    new["machine"]["load"] = 99
    assert compare(old, new)["warnings"] == []
    new["machine"]["cpu"] = "Good CPU"
    new["machine"]["versions"]["psycopg"] = "9"
    new["parameters"]["count"] = 7
    warnings = "\n".join(compare(old, new)["warnings"])
    for words in (
        "cpu differs",
        "psycopg differs",
        "parameter count differs: 12 in the older document, 7 in the newer one",
    ):
        assert words in warnings


def test_cases_of_one_document_only_are_listed(documents: DocumentCache) -> None:
    old, new = documents["memory"], copy.deepcopy(documents["memory"])
    gone = new["cases"].pop()["name"]
    assert compare(old, new)["gone"] == [gone]
    assert compare(new, old)["added"] == [gone]


def test_documents_of_two_workloads_are_refused(documents: DocumentCache) -> None:
    with pytest.raises(ConfigError, match="a document of kdf cannot be compared with one of handshake"):
        compare(documents["kdf"], documents["handshake"])


@pytest.mark.parametrize("text", ["", "{}", "[]", "\ud800", None])
def test_file_without_a_document_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "old.json"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=r"cannot be read|is not a benchmark document"):
        load(str(path), "kdf")


def test_document_of_all_workloads_by_an_earlier_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"workload": "all", "schema": 1, "machine": {}, "parameters": {}, "engines": []}))
    with pytest.raises(ConfigError, match="was written by an earlier version") as caught:
        load(str(path), "all")
    assert "bench all --json" in str(caught.value.remedy)


def test_written_document_can_be_loaded(documents: DocumentCache, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps(documents["kdf"]))
    assert load(str(path), "kdf") == documents["kdf"]
