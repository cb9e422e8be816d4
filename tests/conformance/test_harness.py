"""The comparison itself: one that finds nothing would agree with everything."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from . import agreement, differences
from .agreement import Comparison
from .cases import Case, tcp
from .differences import DIFFERENCES
from .libpq_process import require_libpq

if TYPE_CHECKING:
    from .clients import Outcome
    from .libpq_process import Libpq
    from .world import World

require_libpq()

_CASE = Case(tcp("tls", user="scram_any", sslmode="prefer"), ("tls",))
_WRONG = Case(tcp("tls", user="scram_any", password="wrong", sslmode="prefer"), ("tls",))


def _found(world: World, libpq: Libpq, case: Case) -> str:
    comparison = Comparison(world, libpq)
    comparison.run([case])
    return "\n".join(comparison.disagreements())


def _with_client(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Have our side connect by another string than libpq."""
    real = agreement.through_babar

    def changed(conninfo: str, *args: Any, **keywords: Any) -> Outcome:
        extra = " ".join(f"{keyword}='{value}'" for keyword, value in changes.items())
        return real(f"{conninfo} {extra}", *args, **keywords)

    monkeypatch.setattr(agreement, "through_babar", changed)


def test_agreement(world: World, libpq: Libpq) -> None:
    """Two clients that do the same agree."""
    assert not _found(world, libpq, _CASE)
    assert not _found(world, libpq, _WRONG)


@pytest.mark.parametrize(
    ("case", "changes", "problem"),
    [
        (_CASE, {"password": "wrong"}, "which does not connect"),
        (_WRONG, {"password": "correct horse"}, "which connects"),
        (_CASE, {"sslmode": "disable"}, "which makes other attempts"),
        (_WRONG, {"sslmode": "require"}, "which makes other attempts"),
        (_CASE, {"ssl_max_protocol_version": "TLSv1.2"}, "which has another identity on the server"),
        (_CASE, {"dbname": "d_scram"}, "which has another identity on the server"),
    ],
)
def test_disagreement(
    world: World, libpq: Libpq, monkeypatch: pytest.MonkeyPatch, *, case: Case, changes: dict[str, str], problem: str
) -> None:
    """Every deviation of a client is detected."""
    _with_client(monkeypatch, **changes)
    assert problem in _found(world, libpq, case)


def test_words(world: World, libpq: Libpq, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that keeps one of libpq's messages to itself is found out."""
    real = agreement.through_babar

    def changed(*args: Any, **keywords: Any) -> Outcome:
        outcome = real(*args, **keywords)
        return dataclasses.replace(outcome, text=outcome.text.replace("password authentication failed", "no"))

    monkeypatch.setattr(agreement, "through_babar", changed)
    assert "which does not say 'FATAL:  password authentication failed" in _found(world, libpq, _WRONG)


def test_difference_that_has_gone(world: World, libpq: Libpq, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deliberate difference that does not show is found out, and one that shows otherwise than it should."""
    everywhere = dataclasses.replace(DIFFERENCES[0], applies=lambda _case: True)
    monkeypatch.setattr(differences, "DIFFERENCES", (everywhere,))
    assert f"which is like libpq, and should differ: {everywhere.name}" in _found(world, libpq, _CASE)
    _with_client(monkeypatch, password="wrong")
    assert "which differs otherwise than" in _found(world, libpq, _CASE)
