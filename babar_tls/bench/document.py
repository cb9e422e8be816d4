"""The document of a workload: what was measured, on which machine, with which versions, and what is missing.

All documents have these fields, with times in seconds and sizes in bytes::

    {
      "workload": …, "schema": 2, "babar_tls": version, "implementation": of PBKDF2,
      "parameters": {…},
      "machine": see `machine.describe_machine`, with "versions"; "load_after": load average at the end,
      "server": version of PostgreSQL | null,
      "cases": [{"name": …, "driver": …, "style": …, "backend": … | null, "direct": …, "key_cache": …, figures}],
      "missing": [{"name": what could not be measured, "reason": …}]
    }

A figure is a number or a summary: ``min``, ``median``, ``p90``, ``p99``, ``max``, for some figures also ``samples``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .. import __version__
from ..crypto import implementation
from ..errors import ConfigError
from .machine import describe_machine, describe_versions

#: 2: ``backends`` in documents of ``all`` (earlier: ``engines``).
SCHEMA = 2


class DocumentBuilder:
    """A document whose measurement is in progress.

    Args:
        workload: The name of the workload.
        parameters: The parameters of the measurement.
    """

    def __init__(self, workload: str, parameters: dict[str, Any]) -> None:
        self._missing: list[dict[str, str]] = []
        self._head = {
            "workload": workload,
            "schema": SCHEMA,
            "babar_tls": __version__,
            "implementation": implementation(),
            "parameters": parameters,
            "machine": {**describe_machine(), "versions": describe_versions()},
        }

    def add_missing(self, name: str, reason: object) -> None:
        """Record that something could not be measured.

        The reason is a text or an exception: its first line, and the remedy if that is a package to install.
        """
        text = str(getattr(reason, "message", None) or reason).partition("\n")[0] or type(reason).__name__
        remedy = getattr(reason, "remedy", None) or ""
        entry = {"name": name, "reason": f"{text}: {remedy}" if remedy.startswith("pip install") else text}
        if entry not in self._missing:
            self._missing.append(entry)

    def finish(self, cases: list[dict[str, Any]], *, server: str | None = None, **more: Any) -> dict[str, Any]:
        """Return the document."""
        load = describe_machine()["load"]
        return {**self._head, "load_after": load, "server": server, "cases": cases, **more, "missing": self._missing}


def load(path: str, workload: str | None) -> dict[str, Any]:
    """Return the document in a file.

    Args:
        path: The file.
        workload: The workload that it must be of; `None` for any.

    Raises:
        ConfigError: The file cannot be read, or its content is not a document of this workload and version.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not JSON"
        raise ConfigError(f"{path!r} cannot be read: {reason}") from exc
    if not isinstance(document, dict) or not {"workload", "machine", "parameters"} <= document.keys():
        raise ConfigError(f"{path!r} is not a benchmark document", remedy="Write one with --json FILE.")
    if workload not in (None, document["workload"]):
        raise ConfigError(
            f"{path!r} is a document of {document['workload']}, not {workload}",
            remedy=f"Run: babar-tls bench {document['workload']} …",
        )
    if document["workload"] == "all" and "backends" not in document:
        raise ConfigError(
            f"{path!r} was written by an earlier version, whose documents of 'all' have another format",
            remedy="Measure again: babar-tls bench all --json FILE.",
        )
    return document
