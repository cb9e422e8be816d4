"""The result of `check_backend`: a value, its text as a table, and an exception with both."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class CheckOutcome(Enum):
    """How a check ended."""

    PASSED = "passed"
    """The backend does what the contract requires."""
    FAILED = "failed"
    """It does not."""
    NOT_APPLICABLE = "not applicable"
    """The capabilities of the backend exclude the check."""


@dataclass(frozen=True)
class CheckResult:
    """One check of a backend.

    Attributes:
        name: Subject and name, for example ``closing.truncation``.
        description: What the check proves, in one sentence.
        outcome: How the check ended.
        detail: The problems, one line for each case that failed; or why the check does not apply.
        seconds: The time that it took.
    """

    name: str
    description: str
    outcome: CheckOutcome
    detail: str
    seconds: float

    @property
    def passed(self) -> bool:
        """True if the check did not fail."""
        return self.outcome is not CheckOutcome.FAILED


@dataclass(frozen=True)
class BackendReport:
    """The checks of one backend.

    Attributes:
        backend: The backend's name.
        version: The version that it states; empty if it states none.
        results: The checks, in the order in which they ran.
    """

    backend: str
    version: str
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """True if no check has failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that failed."""
        return tuple(result for result in self.results if not result.passed)

    def __str__(self) -> str:
        """Return a table of all checks, with the problems below each that failed; the last line has the totals."""
        width = max((len(result.name) for result in self.results), default=0)
        lines = [f"{self.backend} ({self.version or 'version unknown'})"]
        for result in self.results:
            lines.append(f"  {result.outcome.value:<14}  {result.name:<{width}}  {result.seconds:7.2f} s")
            if not result.passed:
                lines.append(f"      {result.description}")
            lines += [f"      {line}" for line in result.detail.splitlines()]
        count = {outcome: sum(result.outcome is outcome for result in self.results) for outcome in CheckOutcome}
        lines.append(", ".join(f"{number} {outcome.value}" for outcome, number in count.items()))
        return "\n".join(lines)


class BackendCheckError(AssertionError):
    """A backend does not implement the contract. `report` has all checks; the message has those that failed."""

    def __init__(self, report: BackendReport) -> None:
        self.report = report
        lines = [f"TLS backend {report.backend!r} fails {len(report.failures)} of {len(report.results)} checks"]
        for failure in report.failures:
            lines.append(f"  {failure.name}: {failure.description}")
            lines += [f"      {line}" for line in failure.detail.splitlines()]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[BackendCheckError], tuple[BackendReport]]:
        return type(self), (self.report,)
