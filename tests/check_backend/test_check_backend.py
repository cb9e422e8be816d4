"""`check_backend` passes every correct backend and finds the fault of every broken one.

By default a broken backend runs only the checks that it must fail. With ``BABAR_TLS_EXHAUSTIVE=1`` it runs all checks,
which proves that it fails no others, and the memory check makes more connections.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from babar_tls import BackendUnavailable
from babar_tls.backends import available_backends
from babar_tls.testing import BackendCheckError, BackendReport, CheckOutcome, CheckResult, check_backend
from babar_tls.testing.backend_checks._check import CHECKS

from .broken_backends import (
    FAULTS,
    AlwaysSendsAName,
    Backend,
    Crashes,
    IgnoresRevocationLists,
    Loops,
    LoopsInC,
    Stream,
    VerifiesNothing,
    Waits,
)

EXHAUSTIVE = os.environ.get("BABAR_TLS_EXHAUSTIVE") == "1"
HANDSHAKES = 200
MANY_HANDSHAKES = 1000 if EXHAUSTIVE else HANDSHAKES


@pytest.mark.parametrize("backend", available_backends())
def test_installed_backend_passes_every_check(backend: str) -> None:
    report = check_backend(backend, handshakes=MANY_HANDSHAKES)
    assert report.passed
    assert [result.name for result in report.results] == [check.name for check in CHECKS]


@pytest.mark.parametrize("backend", [Backend, Backend()], ids=["class", "instance"])
def test_backend_need_not_be_registered(backend: Backend | type[Backend]) -> None:
    report = check_backend(backend, handshakes=HANDSHAKES)
    assert report.failures == ()
    skipped = [result for result in report.results if result.outcome is CheckOutcome.NOT_APPLICABLE]
    assert [result.name for result in skipped] == ["facts.exporter"]
    assert "channel_bindings" in skipped[0].detail


@pytest.mark.parametrize("backend", FAULTS, ids=lambda backend: backend.__name__)
def test_fault_fails_exactly_its_checks(backend: type[Backend]) -> None:
    only = None if EXHAUSTIVE else FAULTS[backend]
    report = check_backend(backend, handshakes=HANDSHAKES, only=only, raising=False)
    assert {failure.name for failure in report.failures} == FAULTS[backend], str(report)
    assert all(failure.detail for failure in report.failures)


def test_error_lists_every_failed_check_and_case() -> None:
    with pytest.raises(AssertionError) as caught:
        check_backend(VerifiesNothing(), only=["certificates", "facts.version"])
    error = caught.value
    assert isinstance(error, BackendCheckError)
    assert isinstance(error.report, BackendReport)
    assert len(error.report.failures) > 3
    text = str(error)
    for failure in error.report.failures:
        assert failure.name in text
        assert failure.description in text
    assert "\n      expired, verify=full: handshake: CertificateError was not raised" in text
    assert "\n      self-signed, verify=ca: " in text
    assert "facts.version" not in text
    assert str(pickle.loads(pickle.dumps(error))) == text  # noqa: S301 - made above


def test_report_is_a_table_of_all_checks() -> None:
    report = check_backend(AlwaysSendsAName(), only=["names.server_name_kept_back", "facts.version"], raising=False)
    lines = str(report).splitlines()
    assert lines[0].startswith("sound (OpenSSL ")
    assert lines[1].split()[:2] == ["failed", "names.server_name_kept_back"]
    assert "TLSv1.2: the ClientHello has 'localhost'" in str(report)
    assert lines[-2].split()[:2] == ["passed", "facts.version"]
    assert lines[-1] == "1 passed, 1 failed, 0 not applicable"
    assert not report.passed


def test_one_check_or_subject_can_be_run() -> None:
    reported: list[CheckResult] = []
    report = check_backend("stdlib", only="contract.capabilities", progress=reported.append)
    assert [result.name for result in report.results] == ["contract.capabilities"]
    assert tuple(reported) == report.results
    closing = check_backend("stdlib", only={"closing"})
    assert {result.name.partition(".")[0] for result in closing.results} == {"closing"}
    assert len(closing.results) > 5


def test_every_check_has_a_description() -> None:
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names)) > 70
    for check in CHECKS:
        assert check.description.endswith("."), check.name
        assert 20 < len(check.description) <= 120, check.name


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"only": ["facts.version", "facts.colour", "taste"]}, "no such checks: facts.colour, taste; the checks are "),
        ({"handshakes": 0}, "must be positive"),
        ({"timeout": 0}, "must be positive"),
    ],
)
def test_wrong_argument_is_an_error(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_backend("stdlib", **arguments)  # type: ignore[arg-type]  # a wrong argument on purpose


def test_unknown_backend_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable, match="unknown TLS backend 'nothing'"):
        check_backend("nothing")


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - this Python


def test_python_without_asserts_is_refused() -> None:
    code = "from babar_tls.testing import check_backend; check_backend('stdlib', only='facts.version')"
    done = run_python("-O", "-c", code)
    assert done.returncode == 1
    assert "RuntimeError: check_backend consists of assert statements" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="checks run in the caller's process")
@pytest.mark.parametrize("backend", [Waits, Loops, LoopsInC], ids=lambda backend: backend.__name__)
def test_hang_is_reported_with_its_place_and_later_checks_run(backend: type[Backend]) -> None:
    only = ["contract.capabilities", "handshake.first_call", "facts.version", "files.root_file"]
    report = check_backend(backend, only=only, raising=False, timeout=0.5)
    outcomes = {result.name: result.outcome for result in report.results}
    assert outcomes == {
        "contract.capabilities": CheckOutcome.PASSED,
        "handshake.first_call": CheckOutcome.FAILED,
        "facts.version": CheckOutcome.FAILED,
        "files.root_file": CheckOutcome.PASSED,
    }
    for failure in report.failures:
        assert "was not finished after 0.5 s: hangs in " in failure.detail
        assert "broken_backends.py" in failure.detail


@pytest.mark.skipif(not hasattr(os, "fork"), reason="checks run in the caller's process")
def test_problems_before_a_hang_are_reported() -> None:
    class HangsAtAnInternationalName(AlwaysSendsAName):
        class stream(Stream):
            def do_handshake(self) -> bool:
                while (self._object.server_hostname or "").startswith("xn--"):
                    pass
                return super().do_handshake()

    report = check_backend(HangsAtAnInternationalName, only="names.server_name_indication", raising=False, timeout=0.5)
    detail = report.failures[0].detail
    assert "127.0.0.1, verify=full: the ClientHello has 'localhost', not None\n" in detail
    assert detail.splitlines()[-1].startswith("was not finished after 0.5 s: hangs in ")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="checks run in the caller's process")
def test_crash_is_reported_and_later_checks_run() -> None:
    report = check_backend(Crashes, only=["handshake.first_call", "files.root_file"], raising=False)
    assert [result.outcome for result in report.results] == [CheckOutcome.FAILED, CheckOutcome.PASSED]
    assert report.failures[0].detail.startswith("ended by SIGABRT in ")
    assert "broken_backends.py" in report.failures[0].detail


def test_faulthandler_timeout_of_the_caller_does_not_end_checks() -> None:
    faulthandler.dump_traceback_later(1000)  # as pytest's option faulthandler_timeout does
    try:
        assert check_backend("stdlib", only=["facts.version", "endurance.after_fork"]).passed
    finally:
        faulthandler.cancel_dump_traceback_later()


def test_excluded_capability_makes_a_check_not_applicable() -> None:
    class StatesThatItIgnoresLists(IgnoresRevocationLists):
        stated = {"crls": False}

    can = check_backend(IgnoresRevocationLists, only=["files", "contract"], raising=False)
    cannot = check_backend(StatesThatItIgnoresLists, only=["files", "contract"], raising=False)
    assert {failure.name for failure in can.failures} == {"files.revocation"}
    assert cannot.failures == ()
    skipped = {result.name: result.detail for result in cannot.results if result.outcome is CheckOutcome.NOT_APPLICABLE}
    assert skipped["files.revocation"] == "the backend states that it cannot check certificate revocation lists"


def test_checks_run_without_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork", raising=False)
    report = check_backend(AlwaysSendsAName, only=["names", "endurance.after_fork"], raising=False)
    failed = {failure.name for failure in report.failures}
    assert failed == FAULTS[AlwaysSendsAName]
    assert report.results[-1].outcome is CheckOutcome.NOT_APPLICABLE


def test_hang_without_fork_ends_the_process_and_prints_its_place() -> None:
    code = """if True:
        import os
        os.__dict__.pop("fork", None)
        from babar_tls.testing import check_backend
        from tests.check_backend.broken_backends import Waits
        check_backend(Waits, only="facts.version", timeout=0.5)
    """
    done = run_python("-c", code)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "broken_backends.py" in done.stderr
