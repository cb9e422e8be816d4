"""The chains of the table. The documentation lists exactly the differences that they show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .agreement import check
from .connection import BACKENDS, Server
from .differences import NAMES
from .table import ATTACKS, TABLE

_DOCUMENT = Path(__file__).parents[2] / "docs" / "backends.md"


@pytest.mark.parametrize("case", TABLE)
def test_verdict_is_that_of_openssl_or_documented(case: str, tmp_path: Path) -> None:
    check(TABLE[case], tmp_path)


@pytest.mark.parametrize("case", ATTACKS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_attack_is_refused(backend: str, case: str, tmp_path: Path) -> None:
    server = Server(TABLE[case], tmp_path)
    assert not server.connect_with_openssl().accepted
    assert not server.connect(backend).accepted


@pytest.mark.skipif("rustls" not in BACKENDS, reason="the differences are those of rustls")
def test_documented_differences_are_those_of_the_table(tmp_path: Path) -> None:
    shown = set().union(*(check(world, tmp_path) for world in TABLE.values()))
    assert shown == set(NAMES)
    section = (
        _DOCUMENT.read_text(encoding="utf-8").partition("<!-- chains -->")[2].partition("<!-- end of chains -->")[0]
    )
    assert sorted(re.findall(r"^\| \*\*(.+?)\*\* \|", section, re.MULTILINE)) == sorted(NAMES)
