"""A suite that does not run to its end is a failure, not a suite with few tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from . import run as runner
from .suites import Suite

if TYPE_CHECKING:
    from pathlib import Path

SERVER: Any = SimpleNamespace(host="127.0.0.1", port=1, user="", password="", root_cert_path="")
SUITE = Suite("example", "", (), "record", ("test_a.py",), ("test_a.py",), (0, 0), (0, 0))


def run(folder: Path, source: str, only: list[str] | None = None) -> runner.Outcomes:
    (folder / "test_a.py").write_text(source, encoding="utf-8")
    return runner.run(SUITE, "plain", SERVER, folder, only)


def test_test_has_its_most_severe_outcome(tmp_path: Path) -> None:
    source = """
import pytest

@pytest.fixture
def broken():
    yield
    raise OSError("of the fixture")

def test_passes(): pass
def test_fails(): assert 1 == 2
def test_skips(): pytest.skip("")
def test_tear_down_fails(broken): pass
@pytest.mark.xfail
def test_is_expected_to_fail(): assert False
"""
    outcomes = run(tmp_path, source)

    assert {name.partition("::")[2]: outcome for name, outcome in outcomes.tests.items()} == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_skips": "skipped",
        "test_tear_down_fails": "error",
        "test_is_expected_to_fail": "xfailed",
    }
    assert outcomes.messages["test_a.py::test_tear_down_fails"].endswith("OSError: of the fixture")


def test_only_the_named_tests_run_again(tmp_path: Path) -> None:
    outcomes = run(tmp_path, "def test_1(): pass\ndef test_2(): pass", ["test_a.py::test_2"])

    assert outcomes.tests == {"test_a.py::test_2": "passed"}


@pytest.mark.parametrize("source", ["import not_there", "import os\ndef test_1(): os._exit(0)"])
def test_suite_that_does_not_run_to_its_end_fails(tmp_path: Path, source: str) -> None:
    with pytest.raises(AssertionError, match="did not run to its end"):
        run(tmp_path, source)


def test_suite_that_hangs_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TIME_LIMIT", 3)
    source = """
import subprocess, sys
def test_1():
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"]).wait())
"""
    with pytest.raises(AssertionError, match="was killed after 3 s"):
        run(tmp_path, source)
