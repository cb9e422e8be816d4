"""Hooks for the long run: no timeout for properties, and a summary of the executed examples by target."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .profile import LONG, executed

_HERE = Path(__file__).parent
_WORKER_KEY = "fuzzing_examples"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Remove the timeout of properties in a long run; it is meant for tests with a fixed amount of work."""
    if LONG:
        for item in items:
            if _HERE in item.path.parents:
                item.add_marker(pytest.mark.timeout(0))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the counts of a pytest-xdist worker."""
    for target, name, count in getattr(node, "workeroutput", {}).get(_WORKER_KEY, ()):
        executed[target, name] += count


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Report this worker's count to the controller of pytest-xdist."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_WORKER_KEY] = [[target, name, count] for (target, name), count in executed.items()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of examples by target; only in a long run."""
    if not LONG:
        return
    examples: Counter[str] = Counter()
    properties: Counter[str] = Counter()
    for (target, _), count in executed.items():
        examples[target] += count
        properties[target] += 1
    terminalreporter.section("fuzzing")
    for target in sorted(examples):
        terminalreporter.write_line(f"{target:<16}{examples[target]:>12,} examples of {properties[target]} properties")
    terminalreporter.write_line(f"{'total':<16}{sum(examples.values()):>12,} examples")
