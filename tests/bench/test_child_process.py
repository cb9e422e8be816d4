"""Jobs in child processes: their results, failures and ends."""

from __future__ import annotations

import pytest

from babar_tls.bench.child_process import ChildProcess, run_job
from babar_tls.bench.network import delay
from babar_tls.errors import Error


def test_failure_in_the_child_is_an_error_in_the_parent() -> None:
    with pytest.raises(Error, match="the child process for 'delay' failed: TypeError"):
        run_job(delay, nonsense=True)


def test_child_ends_with_its_context() -> None:
    with ChildProcess(delay, host="127.0.0.1", port=1, rtt=0.0) as child:
        assert child.result()["port"] > 0
        process = child._process
        assert process.poll() is None
    assert process.returncode == 0


def test_killed_child_is_an_error_in_the_parent() -> None:
    with ChildProcess(delay, host="127.0.0.1", port=1, rtt=0.0) as child:
        child.result()
        child._process.kill()
        with pytest.raises(Error, match="it ended without a result"):
            child.result()
