"""The base class of servers that are started and stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Startable(ABC):
    """A server, as a context manager or between `start` and `stop`."""

    @abstractmethod
    def start(self) -> None:
        """Start the server and return once it accepts connections."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the server and release its resources; may be called repeatedly."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
