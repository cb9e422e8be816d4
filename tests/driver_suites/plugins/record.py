"""A pytest plugin: write the outcome of each test to a file, one JSON object a line; optionally run only some tests.

The environment variable ``DRIVER_SUITE`` is a JSON object: ``side`` ("plain" or "ours"), ``results`` (the file),
``only`` (names of tests, or null for all), and parameters of the other plugins.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

PARAMETERS: dict[str, Any] = json.loads(os.environ["DRIVER_SUITE"])
OURS = PARAMETERS["side"] == "ours"

_results = Path(PARAMETERS["results"]).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 - until the process ends
_counts = {"connects": 0, "bypasses": 0}


def count(what: str) -> None:
    """Count a connection: ``connects``, or ``bypasses`` for one that does not use babar-tls."""
    _counts[what] += 1


def _write(**record: Any) -> None:
    _results.write(json.dumps(record) + "\n")


def _name(nodeid: str) -> str:
    """Return the name of a test without the dialect and the server's version, which SQLAlchemy adds to the class."""
    return re.sub(r"_postgresql\+\w+(?=::)", "", nodeid)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep only the requested tests."""
    if PARAMETERS["only"] is None:
        return
    wanted = set(PARAMETERS["only"])
    config.hook.pytest_deselected(items=[item for item in items if _name(item.nodeid) not in wanted])
    items[:] = [item for item in items if _name(item.nodeid) in wanted]


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Record a file that cannot be collected."""
    if report.failed:
        _write(not_collected=report.nodeid, message=report.longreprtext[-2000:])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record an outcome. A test has several: of its set-up, its subtests, itself and its tear-down."""
    outcome: str = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.skipped else "xpassed"
    elif report.failed and report.when != "call":
        outcome = "error"
    if report.when == "call" or not report.passed:
        lines = report.longreprtext.strip().splitlines() if report.failed else []
        _write(test=_name(report.nodeid), outcome=outcome, message=lines[-1][:500] if lines else "")


def pytest_sessionfinish(exitstatus: int) -> None:
    """Record that the run is complete."""
    _write(finished=int(exitstatus), **_counts)
