"""What the demonstration has found out so far, and who is told of it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ._demo_checks import Connection, Interception, Refusal, Timing


@dataclass
class Findings:
    """What came out so far."""

    backends: list[str] = field(default_factory=list)
    server_version: str = ""
    port: int = 0
    start_seconds: float = 0.0
    connections: list[Connection] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    interception: Interception | None = None

    @property
    def failures(self) -> list[str]:
        """What is not as it should be, in plain words."""
        found = [
            f"{item.backend}, {item.style}: the two ends' accounts differ, or not everything is proven"
            for item in self.connections
            if not item.agrees
        ]
        found += [
            f"{item.backend}: {item.name} was not refused as it must be" for item in self.refusals if not item.happened
        ]
        if self.interception is not None and not self.interception.query_seen:
            found.append("the man in the middle did not read what it should have been able to")
        if self.interception is not None and self.interception.password_seen:
            found.append("the man in the middle has read the password")
        return found


class Narrator:
    """Tells nobody anything; the one that draws tables overrides it."""

    def working(self, what: str) -> AbstractContextManager[object]:
        """Say what takes a moment, for as long as it does."""
        del what
        return nullcontext()

    def opening(self, findings: Findings) -> None:
        """The server is up."""

    def connections(self, findings: Findings) -> None:
        """Every engine has connected."""

    def timings(self, findings: Findings) -> None:
        """Every engine has been timed."""

    def refusals(self, findings: Findings) -> None:
        """What must be refused has been tried."""

    def closing(self, findings: Findings) -> None:
        """The server is gone."""
