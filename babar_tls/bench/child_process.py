"""Child processes, for measurements of a whole process and for servers that must not share a process with a client.

A job is a function at the top of a module. It yields results in JSON's types. Its arguments are sent to standard input
as one line of JSON, because they contain passwords, and other users can read command lines. Each result is one line of
standard output. A child process ends when its standard input is closed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    Job = Callable[..., Iterator[dict[str, Any]]]

_TIMEOUT = 10.0  # seconds in which a child must end after its standard input was closed
_PROGRAM = "from babar_tls.bench.child_process import main; main()"


class ChildProcess:
    """A running job; a context manager.

    Args:
        job: The function.
        arguments: Its keyword arguments, in JSON's types.
    """

    def __init__(self, job: Job, **arguments: Any) -> None:
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        self._name = job.__name__
        self._process = subprocess.Popen(  # noqa: S603 - the running interpreter
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C must not reach it: the parent closes its standard input
        )
        try:
            print(json.dumps([job.__module__, job.__name__, arguments]), file=self._process.stdin, flush=True)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def result(self) -> dict[str, Any]:
        """Return the next result.

        Raises:
            Error: The job failed or ended.
        """
        assert self._process.stdout is not None  # noqa: S101 - for mypy: it is a pipe
        line = self._process.stdout.readline()
        result: dict[str, Any] = json.loads(line) if line else {"error": "it ended without a result"}
        if "error" in result:
            raise Error(f"the child process for {self._name!r} failed: {result['error']}")
        return result

    def close(self) -> None:
        """Close its standard input, and wait until it has ended."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass  # the child has already exited, so the buffered data cannot be written
        try:
            self._process.wait(_TIMEOUT)
        except BaseException as exc:
            self._process.kill()
            self._process.wait()
            if not isinstance(exc, subprocess.TimeoutExpired):
                raise


def run_job(job: Job, **arguments: Any) -> dict[str, Any]:
    """Run a job that yields one result, and return the result.

    Raises:
        Error: The job failed.
    """
    with ChildProcess(job, **arguments) as child:
        return child.result()


def main() -> None:
    """Run the job that standard input names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module, name, arguments = json.loads(sys.stdin.readline())
    try:
        for result in getattr(import_module(module), name)(**arguments):
            print(json.dumps(result), flush=True)  # noqa: T201 - the parent reads standard output
    except BrokenPipeError:
        pass  # the parent has closed the pipe
    except Exception as exc:  # the parent reports every failure
        print(json.dumps({"error": f"{type(exc).__name__}: {exc}"}), flush=True)  # noqa: T201 - as above
    # The end of the interpreter would flush the closed pipe, and native threads of psqlpy can crash in it.
    os._exit(0)
