"""Two documents side by side: what became better, what worse, and why that may not mean anything."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

import pytest

from babar_tls.bench import WORKLOADS
from babar_tls.bench.compare import compare, load
from babar_tls.bench.metrics import metrics
from babar_tls.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from .documents import Documents


@pytest.mark.parametrize("workload", [*WORKLOADS, "all"])
def test_with_itself(documents: Documents, workload: str) -> None:
    """Beside itself a document has changed in nothing, and every figure of it is compared."""
    document = documents[workload]
    comparison = compare(document, document)
    assert (comparison["warnings"], comparison["gone"], comparison["added"]) == ([], [], [])
    assert len(comparison["cases"]) == len(list(metrics(document))) > 0
    assert {item["ratio"] for item in comparison["cases"]} <= {1.0, None}
    assert {item["better"] for item in comparison["cases"]} == {None}


def test_better_and_worse(documents: Documents) -> None:
    """Less time and more throughput are better, the reverse is worse, and a little of either is neither."""
    old, new = documents["stream"], copy.deepcopy(documents["stream"])
    first, second, third = new["cases"][:3]
    first["megabytes_per_second"] *= 2
    second["cpu_per_gigabyte"] *= 2
    third["cpu_per_gigabyte"] *= 1.01
    found = {(item["case"], item["what"]): item["better"] for item in compare(old, new)["cases"]}
    assert found[first["name"], "throughput"] is True
    assert found[second["name"], "client CPU for a gigabyte"] is False
    assert found[third["name"], "client CPU for a gigabyte"] is None


def test_another_machine(documents: Documents) -> None:
    """Another machine, another version and another setting are warned of, and another load is not."""
    old, new = documents["storm"], copy.deepcopy(documents["storm"])
    new["machine"]["load"] = 99
    assert compare(old, new)["warnings"] == []
    new["machine"]["cpu"] = "Good CPU"
    new["machine"]["versions"]["psycopg"] = "9"
    new["parameters"]["count"] = 7
    warnings = "\n".join(compare(old, new)["warnings"])
    for words in ("cpu is not the same", "psycopg is not the same", "parameter count is not the same: 12 then, 7 now"):
        assert words in warnings


def test_cases_that_come_and_go(documents: Documents) -> None:
    """A case that only one of the two has is named."""
    old, new = documents["memory"], copy.deepcopy(documents["memory"])
    gone = new["cases"].pop()["name"]
    assert compare(old, new)["gone"] == [gone]
    assert compare(new, old)["added"] == [gone]


def test_another_workload(documents: Documents) -> None:
    """Documents of two workloads have nothing in common."""
    with pytest.raises(ConfigError, match="a document of kdf cannot be compared with one of handshake"):
        compare(documents["kdf"], documents["handshake"])


@pytest.mark.parametrize("text", ["", "{}", "[]", "\ud800", None])
def test_no_document(tmp_path: Path, text: str | None) -> None:
    """A file that is missing, no JSON or something else is refused."""
    path = tmp_path / "old.json"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=r"cannot be read|is no benchmark's document"):
        load(str(path))


def test_a_document(documents: Documents, tmp_path: Path) -> None:
    """What was written can be read."""
    path = tmp_path / "old.json"
    path.write_text(json.dumps(documents["kdf"]))
    assert load(str(path)) == documents["kdf"]
