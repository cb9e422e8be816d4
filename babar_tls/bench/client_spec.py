"""`Spec`, the description of a client, and `Client`, the interface through which each client is measured."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config import Config


OURS = "babar-tls"
#: The minimal client of a TLS library, which is not a driver: see `babar_tls.bench.floor`.
FLOOR = "floor"
STYLES = ("blocking", "asyncio")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A client and its settings.

    Attributes:
        driver: `OURS`, `FLOOR`, or the name of another driver in `babar_tls.bench.peers.PEERS`.
        style: ``blocking`` or ``asyncio``.
        backend: The TLS library, of this library and of the floor.
        direct: True if TLS begins with the first byte, without SSLRequest.
        key_cache: True if SCRAM keys are cached; None for the default, and for drivers without this setting.
    """

    driver: str = OURS
    style: str = "blocking"
    backend: str | None = None
    direct: bool = False
    key_cache: bool | None = None

    @property
    def name(self) -> str:
        """The unique name, for people."""
        words = [f"{self.driver} {self.backend}" if self.backend else self.driver, self.style]
        words += ["direct"] if self.direct else []
        words += ["cached keys"] if self.key_cache else []
        return ", ".join(words)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for a child process."""
        return dataclasses.asdict(self)

    def as_case(self) -> dict[str, Any]:
        """Return the fields and the name, for a document."""
        return {**self.as_dict(), "name": self.name}


class Client(ABC):
    """A driver that is ready to connect to one server.

    `open`, `close` and `stream` return a result or an awaitable; `babar_tls.bench.clients.Loop.run` accepts both.
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        self.spec = spec
        self.config = config

    @abstractmethod
    def open(self) -> Any:
        """Connect, and return the session."""

    def close(self, session: Any) -> Any:
        """Close a session that `open` returned."""
        return session.close()

    def stream(self, session: Any, sql: str) -> Any:
        """Run a ``COPY … TO STDOUT``, discard the data, and return the number of bytes.

        Raises:
            NotImplementedError: The driver does not support it.
        """
        raise NotImplementedError(f"{self.spec.driver} has no COPY TO")


def find(cases: Iterable[dict[str, Any]], **wanted: Any) -> dict[str, Any] | None:
    """Return the first case with these fields, or None."""
    return next((case for case in cases if all(case.get(name) == value for name, value in wanted.items())), None)
