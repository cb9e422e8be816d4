"""`check_backend` passes every sound backend and finds the fault of every broken one.

By default a broken backend runs only the checks that it must fail. With ``BABAR_TLS_EXHAUSTIVE=1`` it runs all checks,
which proves that it fails no others, and the memory check makes more connections.
"""

from __future__ import annotations

import os
import pickle
import time

import pytest

from babar_tls import BackendUnavailable
from babar_tls.backends import available_backends
from babar_tls.testing import BackendCheckError, BackendReport, CheckOutcome, CheckResult, check_backend
from babar_tls.testing.backend_checks._check import CHECKS

from .broken_engines import (
    FAULTS,
    AlwaysSendsTheName,
    CannotBeMade,
    CannotEvenSay,
    Engine,
    IgnoresRevocationLists,
    IgnoresWhatItCannotDo,
    NeverFinishes,
    VerifiesNothing,
)

EXHAUSTIVE = os.environ.get("BABAR_TLS_EXHAUSTIVE") == "1"
HANDSHAKES = 200
MANY_HANDSHAKES = 1000 if EXHAUSTIVE else HANDSHAKES


@pytest.mark.parametrize("backend", available_backends())
def test_our_own_engines(backend: str) -> None:
    """Every installed backend passes every check."""
    report = check_backend(backend, handshakes=MANY_HANDSHAKES)
    assert report.passed
    assert [result.name for result in report.results] == [check.name for check in CHECKS]


def test_a_sound_engine() -> None:
    """An engine that is not registered is checked like one that is; what it cannot do is said with the reason."""
    report = check_backend(Engine(), handshakes=HANDSHAKES)
    assert report.failures == ()
    skipped = [result for result in report.results if result.outcome is CheckOutcome.NOT_APPLICABLE]
    assert [result.name for result in skipped] == ["facts.exporter"]
    assert "channel_bindings" in skipped[0].detail or "tls-exporter" in skipped[0].detail


@pytest.mark.parametrize("engine", FAULTS, ids=lambda engine: engine.__name__)
def test_broken_engines(engine: type[Engine]) -> None:
    """Each fault fails the checks that are about it, and no others."""
    hangs = "Loops" in engine.__name__
    only = None if EXHAUSTIVE else FAULTS[engine]
    patience = (8 if EXHAUSTIVE else 2) if hangs else 60  # seconds; without `only`, sound checks need the longer one
    report = check_backend(engine(), handshakes=HANDSHAKES, only=only, raising=False, timeout=patience)
    assert {failure.name for failure in report.failures} == FAULTS[engine], str(report)
    assert all(failure.detail for failure in report.failures)


def test_all_failures_are_told() -> None:
    """The error is an `AssertionError` that has every failed check, its sentence, and every case that failed."""
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
    assert "\n      expired: handshake with verify=full: raised nothing, not CertificateError" in text.replace(
        " and returned None", ""
    )
    assert "\n      self-signed: " in text
    assert "facts.version" not in text
    assert str(pickle.loads(pickle.dumps(error))) == text  # noqa: S301 - our own


def test_the_table() -> None:
    """A report is a table of all checks, with what was found under those that failed."""
    report = check_backend(AlwaysSendsTheName(), only=["names.server_name_kept_back", "facts.version"], raising=False)
    lines = str(report).splitlines()
    assert lines[0].startswith("sound (OpenSSL ")
    assert lines[1].split()[:2] == ["failed", "names.server_name_kept_back"]
    assert "TLSv1.2: the ClientHello has 'db.example.com'" in str(report)
    assert lines[-2].split()[:2] == ["passed", "facts.version"]
    assert lines[-1] == "1 passed, 1 failed, 0 not applicable"
    assert not report.passed


def test_only_and_progress() -> None:
    """One check, or those of one subject, can be run alone, and each result is told as it comes."""
    told: list[CheckResult] = []
    report = check_backend("stdlib", only="contract.capabilities", progress=told.append)
    assert [result.name for result in report.results] == ["contract.capabilities"]
    assert tuple(told) == report.results
    closing = check_backend("stdlib", only={"closing"})
    assert {result.name.partition(".")[0] for result in closing.results} == {"closing"}
    assert len(closing.results) > 5


def test_every_check_has_its_sentence() -> None:
    """Names are unique, and each check says in one sentence what should hold."""
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names)) > 90
    for check in CHECKS:
        assert check.description.endswith("."), check.name
        assert 20 < len(check.description) <= 120, check.name


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"only": ["facts.version", "facts.colour", "taste"]}, "no such checks: facts.colour, taste; there are "),
        ({"handshakes": 0}, "must be positive"),
        ({"timeout": 0}, "must be positive"),
    ],
)
def test_arguments(arguments: dict[str, object], text: str) -> None:
    """A check that does not exist is an error, and not a report in which nothing failed."""
    with pytest.raises(ValueError, match=text):
        check_backend("stdlib", **arguments)  # type: ignore[arg-type]


def test_an_engine_that_is_not_there() -> None:
    """An engine that cannot be had is no engine that fails."""
    with pytest.raises(BackendUnavailable, match="unknown TLS backend 'nothing'"):
        check_backend("nothing")


def test_a_hanging_engine() -> None:
    """An engine that waits for ever fails that check, with the place where it waits, and the others are run."""
    began = time.monotonic()
    report = check_backend(
        NeverFinishes(), only=["handshake.first_call", "contract.capabilities"], raising=False, timeout=0.3
    )
    assert time.monotonic() - began < 15  # it would wait for 20 seconds
    assert [result.outcome for result in report.results] == [CheckOutcome.PASSED, CheckOutcome.FAILED]
    assert "was not finished after 0.3 s: hangs in " in report.failures[0].detail
    assert "broken_engines.py" in report.failures[0].detail


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        (CannotEvenSay, "capabilities(): KeyError, which is no babar_tls.Error, escaped at broken_engines.py:"),
        (CannotBeMade, "TypeError, which is no babar_tls.Error, escaped"),
    ],
)
def test_engines_that_do_nothing(engine: type[Engine], text: str) -> None:
    """An engine that cannot even begin gets a whole report."""
    report = check_backend(engine(), only=["handshake", "data"], raising=False)
    failed = [result for result in report.results if result.outcome is CheckOutcome.FAILED]
    assert len(failed) > 15
    assert text in failed[0].detail


def test_capabilities_are_taken_at_their_word() -> None:
    """The same engine fails one check where it says that it can, and another where it says that it cannot."""
    can = check_backend(IgnoresRevocationLists(), only=["files", "contract"], raising=False)
    cannot = check_backend(IgnoresWhatItCannotDo(), only=["files", "contract"], raising=False)
    assert {failure.name for failure in can.failures} == {"files.revocation", "files.revocation_files"}
    assert {failure.name for failure in cannot.failures} == {"contract.refusals"}
    assert "crls is denied: wrap() with crl_path: raised nothing" in cannot.failures[0].detail
