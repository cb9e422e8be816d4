"""Compare the outcomes of both sides with each other and with the expected differences."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Outcomes
    from .suites import Suite

_MISSING = "not run"


@dataclass(frozen=True)
class Expected:
    """An expected difference.

    Attributes:
        suites: A pattern of the names of suites.
        test: A pattern of the names of tests; the file in it is not a pattern.
        plain: The outcome with the driver's own TLS.
        ours: The outcome with babar-tls.
        reason: Why they differ.
        optional: True if the test is not deterministic, so that the difference need not occur.
    """

    suites: str
    test: str
    plain: str
    ours: str
    reason: str
    optional: bool = False

    def matches(self, name: str, outcomes: tuple[str, str]) -> bool:
        """Return True if it describes this difference."""
        return outcomes == (self.plain, self.ours) and fnmatchcase(name, self.test.replace("[", "[[]"))

    def is_in(self, files: tuple[str, ...]) -> bool:
        """Return True if its file is one of these, or in one of these folders."""
        file = Path(self.test.partition("::")[0])
        return any(file.is_relative_to(each) for each in files)


def expected_differences(suite: Suite) -> list[Expected]:
    """Return the expected differences of the files of this suite that run."""
    table = tomllib.loads(Path(__file__).with_name("differences.toml").read_text(encoding="utf-8"))
    entries = [Expected(test=test, **entry) for entry in table["difference"] for test in entry.pop("tests")]
    return [each for each in entries if fnmatchcase(suite.name, each.suites) and each.is_in(suite.files)]


def differences(plain: Outcomes, ours: Outcomes) -> dict[str, tuple[str, str]]:
    """Return the tests with different outcomes, with the outcomes."""
    names = [*plain.tests, *(name for name in ours.tests if name not in plain.tests)]
    pairs = {name: (plain.tests.get(name, _MISSING), ours.tests.get(name, _MISSING)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def unexpected(found: dict[str, tuple[str, str]], expected: list[Expected]) -> dict[str, tuple[str, str]]:
    """Return the differences that no entry describes."""
    return {name: pair for name, pair in found.items() if not any(entry.matches(name, pair) for entry in expected)}


def unused(found: dict[str, tuple[str, str]], expected: list[Expected]) -> list[Expected]:
    """Return the entries that describe no difference."""
    return [
        entry
        for entry in expected
        if not entry.optional and not any(entry.matches(name, pair) for name, pair in found.items())
    ]
