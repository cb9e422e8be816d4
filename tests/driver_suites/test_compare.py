"""Differences between the outcomes of both sides, and the list of expected ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .compare import Expected, differences, expected_differences, unexpected, unused
from .run import Outcomes
from .sdists import pinned
from .suites import SUITES

if TYPE_CHECKING:
    from .suites import Suite


def _expected(test: str, *, optional: bool = False) -> Expected:
    return Expected("driver", test, "failed", "passed", "a reason", optional)


def test_test_that_ran_on_one_side_only_is_a_difference() -> None:
    found = differences(Outcomes({"a": "passed", "b": "passed"}), Outcomes({"a": "passed", "c": "failed"}))

    assert found == {"b": ("passed", "not run"), "c": ("not run", "failed")}


def test_difference_with_other_outcomes_than_expected_is_unexpected() -> None:
    found = {"tests/test_a.py::test_1": ("passed", "failed")}
    expected = [_expected("tests/test_a.py::test_1")]

    assert unexpected(found, expected) == found
    assert unused(found, expected) == expected


def test_brackets_in_a_pattern_are_literal() -> None:
    found = {"tests/test_a.py::test_1[x-y]": ("failed", "passed")}

    assert not unexpected(found, [_expected("tests/test_a.py::test_1[x-*]")])
    assert unexpected(found, [_expected("tests/test_a.py::test_1[y]")]) == found


def test_optional_entry_may_be_unused() -> None:
    assert not unused({}, [_expected("tests/test_a.py::test_1", optional=True)])


def test_entry_is_of_the_files_in_its_folder() -> None:
    entry = _expected("test/native/test_a.py::test_1")

    assert entry.is_in(("test/native",))
    assert entry.is_in(("test/dbapi", "test/native/test_a.py"))
    assert not entry.is_in(("test/native/test_b.py", "test/nat"))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_suite_has_a_pinned_source_distribution(suite: Suite) -> None:
    assert suite.sdist in pinned()


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_expected_differences_have_reasons(suite: Suite) -> None:
    assert all(entry.reason for entry in expected_differences(suite))
