"""Fresh processes: for what a process can measure only of itself, and for what must not share ours with a client.

A job is a function of `babar_tls.bench.jobs`. What it is to work on goes to its standard input as one line of JSON
(passwords are in there, and command lines can be read by everybody); what comes back is one line for each thing that
the job yields. When its standard input ends, it is to end too: that is how a job goes with its parent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Error

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


_PATIENCE = 10.0  # seconds for a child that was told to end
_PROGRAM = "from babar_tls.bench.jobs import main; main()"


class Child:
    """A job that is running; a context manager.

    Args:
        job: Its function's name.
        arguments: Its keyword arguments, JSON-ready.
    """

    def __init__(self, job: str, **arguments: Any) -> None:
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        self._job = job
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for us, and we tell it
        )
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        try:
            self._process.stdin.write(json.dumps({"job": job, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def result(self) -> dict[str, Any]:
        """The next thing that it yields.

        Raises:
            Error: It failed, or ended.
        """
        assert self._process.stdout is not None  # noqa: S101 - as above
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "it ended without a result"}
        if "error" in answer:
            raise Error(f"the child process for {self._job!r} failed: {answer['error']}")
        return answer

    def close(self) -> None:
        """Have it end."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass  # it went first
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise


def run_job(job: str, **arguments: Any) -> dict[str, Any]:
    """Run a job that yields one thing, and return that.

    Raises:
        Error: It failed.
    """
    with Child(job, **arguments) as child:
        return child.result()
