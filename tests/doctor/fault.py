"""What the table of faults says about each fault."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.doctor.causes import Cause

    from .fault_world import Arena

#: The backends that check certificate revocation lists.
CRL_BACKENDS = ("stdlib", "openssl")
ALL_BACKENDS = ("stdlib", "openssl", "rustls")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, and what a diagnosis must say about it.

    Attributes:
        name: The name of the test.
        description: The fault, for people.
        arrange: Set the fault up, and return the connection string to diagnose.
        cause: The cause that the diagnosis names.
        stage: The stage with the finding.
        advice: Words of the remedy; ``…`` matches any text.
        backends: The backends to diagnose with.
        is_fault: False if the connection works, and the finding is a warning.
    """

    name: str
    description: str
    arrange: Callable[[Arena], str]
    cause: Cause
    stage: str
    advice: str
    backends: tuple[str, ...] = ("stdlib",)
    is_fault: bool = True

    @property
    def advice_pattern(self) -> str:
        """The regular expression of `advice`."""
        return ".*".join(re.escape(words) for words in self.advice.split(" … "))

    def __str__(self) -> str:
        return self.name
