"""Jobs in processes of their own give their results, tell their failures, and go when they are told to."""

from __future__ import annotations

import pytest

from babar_tls.bench.children import Child, run_job
from babar_tls.errors import Error


def test_a_failure_is_told() -> None:
    """What goes wrong in a child is an error here."""
    with pytest.raises(Error, match="the child process for 'delay' failed: TypeError"):
        run_job("delay", nonsense=True)


def test_no_such_job() -> None:
    """A job that does not exist is one too."""
    with pytest.raises(Error, match="the child process for 'nothing' failed: KeyError"):
        run_job("nothing")


def test_a_child_ends_with_its_context() -> None:
    """A job that would go on for ever ends when nobody needs it any more."""
    with Child("delay", host="127.0.0.1", port=1, rtt=0.0) as child:
        assert child.result()["port"] > 0
        process = child._process
        assert process.poll() is None
    assert process.returncode == 0


def test_a_child_that_dies_is_told() -> None:
    """One that is killed has no result."""
    with Child("delay", host="127.0.0.1", port=1, rtt=0.0) as child:
        child.result()
        child._process.kill()
        with pytest.raises(Error, match="it ended without a result"):
            child.result()
