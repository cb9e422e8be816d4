"""Each driver's own tests have the same outcomes over its own TLS and over a connection of babar-tls."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from babar_tls.testing import PostgresServer

from . import compare
from .run import TIME_LIMIT, Outcomes, run
from .sdists import SdistUnavailable, unpack
from .suites import SUITES, WHOLE, Suite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHOWN = 50  # differences in a message
_REQUIRED = os.environ.get("BABAR_TLS_TEST_DRIVERS") == "require"


@contextlib.contextmanager
def _server(suite: Suite) -> Iterator[PostgresServer]:
    with PostgresServer(hba=["hostssl all all all scram-sha-256"], **suite.server) as server:
        for database, statements in suite.sql.items():
            server.sql(statements, database)
        yield server


def _retry(suite: Suite, folder: Path, names: dict[str, tuple[str, str]], plain: Outcomes, ours: Outcomes) -> None:
    """Run tests again on both sides, with a new server each, and replace their outcomes."""
    for side, outcomes in (("plain", plain), ("ours", ours)):
        with _server(suite) as server:
            again = run(suite, side, server, folder, names)  # type: ignore[arg-type] - a literal
        for name in names:
            outcomes.tests.pop(name, None)
        outcomes.tests |= again.tests
        outcomes.messages |= again.messages


@pytest.mark.timeout(4 * TIME_LIMIT + 120)
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_outcomes_are_those_over_the_drivers_own_tls(
    suite: Suite, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def report(text: str) -> None:  # conftest.py prints it
        request.node.user_properties.append(("driver suite", f"{suite.name}, {text}"))

    try:
        unpack(suite.sdist, suite.members, tmp_path)
    except SdistUnavailable as exc:
        if _REQUIRED:
            raise
        pytest.skip(str(exc))
    with _server(suite) as server:
        plain = run(suite, "plain", server, tmp_path)
    with _server(suite) as server:
        ours = run(suite, "ours", server, tmp_path)
    for side, outcomes in (("plain", plain), ("ours", ours)):
        report(f"{side}: {outcomes.summary()}")
        assert outcomes.count("passed") >= suite.minimum[WHOLE], f"{side}: {outcomes.summary()}"
        assert outcomes.connects - outcomes.bypasses >= suite.connects[WHOLE], f"{side}: {outcomes.summary()}"

    expected = compare.expected_differences(suite)
    retried = compare.unexpected(compare.differences(plain, ours), expected)
    if retried:
        report(f"retried: {', '.join(retried)}")
        _retry(suite, tmp_path, retried, plain, ours)
    found = compare.differences(plain, ours)
    lines = [
        f"{name}: {pair[0]} over the driver's TLS, {pair[1]} over babar-tls\n"
        f"    {ours.messages.get(name) or plain.messages.get(name, '')}"
        for name, pair in compare.unexpected(found, expected).items()
    ]
    lines += [
        f"differences.toml: no longer {entry.plain} and {entry.ours}: {entry.test}"
        for entry in compare.unused(found, expected)
    ]
    assert not lines, f"{suite.name}: {len(lines)} differences\n" + "\n".join(lines[:_SHOWN])
