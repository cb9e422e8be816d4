"""Run a suite in a process of its own, and read the outcomes of its tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .suites import BACKEND, WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from babar_tls.testing import PostgresServer

    from .suites import Suite

Side = Literal["plain", "ours"]

#: From the least to the most severe: a test with several outcomes has the most severe one.
_SEVERITY = ("passed", "xfailed", "skipped", "xpassed", "failed", "error")
_PLUGINS = Path(__file__).with_name("plugins")
#: Seconds for one side of a suite, and for one test.
TIME_LIMIT = 1500 if WHOLE else 120
_TEST_TIME_LIMIT = 120 if WHOLE else 30
_TAIL = 3000  # characters of output that a failure shows


@dataclass
class Outcomes:
    """The outcomes of one side.

    Attributes:
        tests: The outcome of each test.
        messages: The last line of each failure.
        connects: How many connections were opened.
        bypasses: How many of them were opened by the driver, because babar-tls has no equivalent of their arguments.
        seconds: The duration.
    """

    tests: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    connects: int = 0
    bypasses: int = 0
    seconds: float = 0.0

    def count(self, outcome: str) -> int:
        """Return how many tests have this outcome."""
        return sum(each == outcome for each in self.tests.values())

    def summary(self) -> str:
        """Return the counts of outcomes, for example ``310 passed, 5 failed``."""
        counts = ", ".join(f"{self.count(each)} {each}" for each in _SEVERITY if self.count(each))
        connects = f"{self.connects} connects, {self.bypasses} of them by the driver; " if self.connects else ""
        return f"{counts or 'no test'}; {connects}{self.seconds:.0f} s"


def run(suite: Suite, side: Side, server: PostgresServer, folder: Path, only: Iterable[str] | None = None) -> Outcomes:
    """Run a suite, or only some of its tests, and return the outcomes.

    Args:
        suite: The suite.
        side: "ours" for connections of babar-tls.
        server: The server.
        folder: The folder that contains the unpacked tests.
        only: The names of the tests to run; `None` for all tests of `suite.files`.

    Raises:
        AssertionError: The suite did not run to its end; the message shows the end of its output.
    """
    name = side if only is None else f"{side}-again"
    results, output = folder / f"{name}.jsonl", folder / f"{name}.log"
    parameters = {"side": side, "results": str(results), "only": None if only is None else sorted(only)}
    parameters |= {"backend": BACKEND} | suite.parameters
    command = [sys.executable, "-m", "pytest", "-p", "record", "-p", suite.plugin, *_plugins(suite)]
    command += ["-o", "addopts=", "-o", "filterwarnings=default", "--tb=short", "--import-mode", suite.import_mode]
    command += [*suite.left_out, *_database_arguments(suite, side, server), *suite.files]
    start = time.monotonic()
    with output.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - a fixed program, without a shell
            command,
            cwd=folder,
            env={**_environment(server, folder), **suite.environment, "DRIVER_SUITE": json.dumps(parameters)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            reason = f"was killed after {TIME_LIMIT} s"
        else:
            reason = f"ended with status {process.returncode}"
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # the group ended with its leader
            process.wait()
    outcomes, problems = _read(results)
    outcomes.seconds = time.monotonic() - start
    if problems:
        text = output.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
        raise AssertionError(
            f"the suite {suite.name} ({side}) {reason}, after {outcomes.summary()}\n" + "\n".join([*problems, text])
        )
    return outcomes


def _plugins(suite: Suite) -> list[str]:
    """Return the arguments that select pytest's plugins; those that are installed for other tests are not loaded."""
    names = ["no:cacheprovider", "pytest_timeout", *suite.pytest_plugins]
    return [f"--timeout={_TEST_TIME_LIMIT}", *(word for name in names for word in ("-p", name))]


def _database_arguments(suite: Suite, side: Side, server: PostgresServer) -> list[str]:
    if "driver" not in suite.parameters:
        return []
    prefix, query = (
        ("", "") if side == "plain" else ("babar_", "" if BACKEND == "stdlib" else f"?tls_backend={BACKEND}")
    )
    driver = prefix + suite.parameters["driver"]
    return ["--dburi", f"postgresql+{driver}://scott:tiger@{server.host}:{server.port}/test{query}"]


def _environment(server: PostgresServer, folder: Path) -> dict[str, str]:
    """Return the environment: both sides read the server, the login and TLS from the variables of libpq."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_PLUGINS), os.environ.get("PYTHONPATH")])),
        "PYTHONSAFEPATH": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.user,
        "PGPASSWORD": server.password,
        "PGDATABASE": "postgres",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(server.root_cert_path),
    }


def _read(results: Path) -> tuple[Outcomes, list[str]]:
    """Return the outcomes, and why they are not complete."""
    outcomes, problems, finished = Outcomes(), [], False
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    for line in lines:
        record = json.loads(line)
        if "test" in record:
            name, outcome = record["test"], record["outcome"]
            outcomes.tests[name] = max(outcomes.tests.get(name, "passed"), outcome, key=_SEVERITY.index)
            outcomes.messages[name] = record["message"] or outcomes.messages.get(name, "")
        elif "not_collected" in record:
            problems.append(f"{record['not_collected']} cannot be collected:\n{record['message']}")
        else:
            finished = record["finished"] in (0, 1)  # all tests passed, or some failed
            outcomes.connects, outcomes.bypasses = record["connects"], record["bypasses"]
    if not finished:
        problems.append("It did not run to its end.")
    return outcomes, problems
