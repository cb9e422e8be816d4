"""`babar-tls explain`: problems because of which a connect fails on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import babar_tls.explain.problems
from babar_tls.errors import BackendUnavailable

from .test_explain import explained, home

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from .conftest import Outcome

__all__ = ["home"]

MISSING = 'Every connect will fail: root certificate file "{}" does not exist.'


def test_missing_file_makes_every_connect_fail(cli: Callable[..., Outcome], home: Path) -> None:
    """The exit status is 2, and the explanation is complete."""
    outcome = cli("explain", "postgresql://h/?sslmode=verify-full")
    assert outcome.status == 2
    assert "! Every connect will fail: root certificate file" in outcome.out
    assert "sslmode=verify-full sslrootcert=system" in " ".join(outcome.out.split())
    assert "Channel binding" in outcome.out
    (problem,) = explained(cli, "postgresql://h/?sslmode=verify-full")["problems"]
    assert problem["text"] == MISSING.format(home / ".postgresql" / "root.crt")
    (problem,) = explained(cli, f"host=h sslcert={home}/c.pem sslkey={home}/k.pem")["problems"]
    assert f"{home}/c.pem" in problem["text"]
    assert cli("explain", f"host=h sslcrl={home}/crl.pem").status == 2


def test_missing_file_is_not_fatal_without_tls(cli: Callable[..., Outcome]) -> None:
    for text in ("host=h sslmode=prefer sslrootcert=/nonexistent", "host=/tmp,h sslmode=verify-ca"):
        outcome = cli("explain", text)
        assert outcome.status == 0
        assert "! Every connection with TLS will fail: root certificate file" in outcome.out
    for text in ("host=h sslmode=disable", "host=/tmp sslmode=verify-ca", "host=h sslmode=require", "host=h"):
        assert explained(cli, text)["problems"] == []


def test_backend_that_cannot_be_used_is_a_problem(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise BackendUnavailable(f"TLS backend {name!r} cannot be used: it is away", remedy="pip install it")

    monkeypatch.setattr(babar_tls.explain.problems, "get_backend", missing)
    outcome = cli("explain", "host=h", "--json")
    assert outcome.status == 2
    (problem,) = outcome.document["problems"]
    assert problem["text"] == "Every connect will fail: TLS backend 'stdlib' cannot be used: it is away."
    assert problem["remedy"] == "pip install it"
