"""The document of a workload from beginning to end: what was measured, where, with what, and what could not be.

Every document but that of `kdf`, which has more, looks like this, its times in seconds and its sizes in bytes::

    {
      "workload": …, "schema": 1, "babar_tls": version, "implementation": PBKDF2's,
      "parameters": {…},
      "machine": see `machine.describe_machine`, with "versions"; "load_after": the load when all was measured,
      "server": PostgreSQL's version | null,
      "cases": [{"name": …, "driver": …, "style": …, "backend": … | null, "direct": …, "key_cache": …, figures}],
      "targets": [{"name": …, "at_least" | "at_most": …, "unit": …, "measured": … | null, "met": … | null}],
      "missing": [{"name": what could not be measured, "reason": …}]
    }

A figure is a number, or a summary: ``min``, ``median``, ``p90``, ``p99``, ``max``, for some with the ``samples``.
"""

from __future__ import annotations

from typing import Any

from .. import __version__
from ..crypto import implementation
from .machine import describe_machine, describe_versions

SCHEMA = 1


class Record:
    """A document that is being written.

    Args:
        workload: Its name.
        parameters: With what it runs.

    Attributes:
        missing: What could not be measured; add to it with `miss`.
    """

    def __init__(self, workload: str, parameters: dict[str, Any]) -> None:
        self.missing: list[dict[str, str]] = []
        self._head = {
            "workload": workload,
            "schema": SCHEMA,
            "babar_tls": __version__,
            "implementation": implementation(),
            "parameters": parameters,
            "machine": {**describe_machine(), "versions": describe_versions()},
        }

    def miss(self, name: str, reason: object) -> None:
        """Remember that something could not be measured; of a reason of many lines, the first is kept."""
        entry = {"name": name, "reason": str(reason).partition("\n")[0] or type(reason).__name__}
        if entry not in self.missing:
            self.missing.append(entry)

    def finish(
        self, cases: list[dict[str, Any]], targets: list[dict[str, Any]], *, server: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """The document."""
        return {
            **self._head,
            "load_after": describe_machine()["load"],
            "server": server,
            "cases": cases,
            **more,
            "targets": targets,
            "missing": self.missing,
        }
