"""`babar-tls connect --verbose`: the library's log on standard error."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from babar_tls.cli._verbose import verbose

from .conftest import APP_PASSWORD, finish, spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def test_warnings_have_the_time_since_the_start(conninfo: Callable[..., str]) -> None:
    """Without --verbose, only the message is shown. Standard output does not change."""
    target = conninfo(user="old", sslmode="require", sslrootcert=None)
    plain = finish(spawn("connect", target, "--json", HOME="/nonexistent"))
    shown = finish(spawn("connect", target, "--json", "--verbose", HOME="/nonexistent"))
    warning = plain.err.strip().splitlines()[0]
    assert "md5" in warning
    assert re.search(rf"^ +[0-9]+\.[0-9] ms  warning: {re.escape(warning)}$", shown.err, re.MULTILINE)
    assert APP_PASSWORD not in shown.err
    assert plain.document.keys() == shown.document.keys()


def test_phases_are_shown(conninfo: Callable[..., str]) -> None:
    outcome = finish(spawn("connect", conninfo(), "--verbose", "--json"))
    assert outcome.status == 0
    found = re.findall(r"^ +[0-9]+\.[0-9] ms  .*: (\w+) (?:took|after) ", outcome.err, re.MULTILINE)
    assert found == ["tcp", "negotiate", "tls", "auth", "ready", "ready"]
    assert APP_PASSWORD not in outcome.err


def test_every_level_is_shown_until_the_end_of_the_context(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("babar_tls")
    before = logger.level, logger.handlers[:]
    with verbose(True):
        logger.debug("tls %s", "completed")
        logger.warning("weak")
    assert re.fullmatch(r" +\d+\.\d ms  tls completed\n +\d+\.\d ms  warning: weak\n", capsys.readouterr().err)
    assert (logger.level, logger.handlers) == before
    with verbose(False):
        logger.debug("nothing")
    assert capsys.readouterr().err == ""
