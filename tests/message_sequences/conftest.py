"""A known nonce, and the number of sequences for the summary."""

from __future__ import annotations

import pytest

from .honest_server import CLIENT_NONCE


@pytest.fixture(autouse=True)
def known_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the same nonce in each run, because a prefix is repeated for each of its extensions."""
    monkeypatch.setattr("babar_tls.protocol.scram.make_nonce", lambda: CLIENT_NONCE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report the number of sequences of all processes."""
    counts = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "sequences" and report.when == "call"
    ]
    if counts:
        terminalreporter.write_line(f"handshake sequences explored: {sum(counts):,}")
