"""Which client is measured, used how, and what each client can do."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .places import Place


OURS = "babar-tls"
#: The lower limit of a TLS library, not a driver: see `babar_tls.bench.floor`.
FLOOR = "floor"
STYLES = ("blocking", "asyncio")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A client and its settings.

    Attributes:
        driver: `OURS`, `FLOOR`, or another's name in `babar_tls.bench.peers.PEERS`.
        style: ``blocking`` or ``asyncio``.
        backend: The TLS library, of this library and of the floor.
        direct: TLS from the first byte, without SSLRequest.
        key_cache: Whether SCRAM keys are remembered; `None` for the default, or where the driver has no say.
    """

    driver: str = OURS
    style: str = "blocking"
    backend: str | None = None
    direct: bool = False
    key_cache: bool | None = None

    @property
    def name(self) -> str:
        """For people, and unique."""
        words = [f"{self.driver} {self.backend}" if self.backend else self.driver, self.style]
        words += ["direct"] if self.direct else []
        words += ["cached keys"] if self.key_cache else []
        return ", ".join(words)

    def as_dict(self) -> dict[str, Any]:
        """For a document, or a child process."""
        return dataclasses.asdict(self)


class Client(ABC):
    """One driver, ready to connect to one place."""

    def __init__(self, spec: Spec, place: Place) -> None:
        self.spec = spec
        self.place = place

    @abstractmethod
    def open(self) -> Any:
        """Connect; the session, or what to await for it."""

    def close(self, session: Any) -> Any:
        """Say goodbye to what `open` gave."""
        return session.close()

    @abstractmethod
    def stream(self, session: Any, sql: str) -> Any:
        """Run a ``COPY … TO STDOUT`` and forget the data; the number of bytes, or what to await for it."""


def find(cases: Iterable[dict[str, Any]], **wanted: Any) -> dict[str, Any] | None:
    """Return the first case with these fields, or None."""
    return next((case for case in cases if all(case.get(name) == value for name, value in wanted.items())), None)
