"""Real servers and passwords that expire."""

from __future__ import annotations

import importlib.util
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from babar_tls import Config, InvalidPassword, UnsupportedAuth
from babar_tls.testing import PostgresServer

from .conftest import PASSWORD
from .drivers import BACKENDS, STYLES, connected

EXAMPLE = Path(__file__).parents[2] / "examples" / "expiring_token.py"


class Token:
    """A callable that counts its calls; with `is_coroutine` its result is awaitable."""

    def __init__(self, *, is_coroutine: bool = False) -> None:
        self._is_coroutine = is_coroutine
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        return self._later() if self._is_coroutine else PASSWORD

    async def _later(self) -> str:
        return PASSWORD


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", [*STYLES, "coroutine"])
@pytest.mark.parametrize(
    ("user", "method"),
    [("scram_role", "scram-sha-256-plus"), ("md5_role", "md5"), ("password_role", "password"), ("trust_role", "none")],
)
def test_login_and_cancel_request_call_the_callable_once(
    tls_server: PostgresServer, backend: str, style: str, user: str, method: str
) -> None:
    token = Token(is_coroutine=style == "coroutine")
    config = tls_server.config(user=user, password=token, tls_backend=backend)
    with connected(config, style) as session:
        assert session.security.auth_method == method
        session.cancel()
    assert token.calls == 1


@pytest.mark.parametrize("style", STYLES)
def test_cleartext_token_is_not_sent_to_a_server_that_is_not_verified(tls_server: PostgresServer, style: str) -> None:
    config = tls_server.config(user="password_role", password=Token(), tls_verify="none")
    with pytest.raises(UnsupportedAuth, match="cleartext password"), connected(config, style):
        pass


@pytest.fixture
def example() -> Any:
    if not EXAMPLE.exists():
        pytest.skip("the examples are not part of this distribution")
    spec = importlib.util.spec_from_file_location("expiring_token", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_example_prints_two_logins(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    assert capsys.readouterr().out.splitlines() == [
        "app, method password, tokens issued: 1",
        "app, method password, tokens issued: 2",
    ]


@pytest.mark.parametrize("method", ["password", "scram-sha-256"])
@pytest.mark.parametrize("style", STYLES)
def test_expired_token_of_the_example_is_refused(example: Any, method: str, style: str) -> None:
    hba = [f"hostssl all app all {method}", example.HBA[1]]
    with PostgresServer(roles={"app": None}, hba=hba) as server:
        valid, expired = (example.TokenIssuer(server, timedelta(minutes=minutes)) for minutes in (15, -1))
        for _ in range(2):
            with connected(server.config(user="app", password=valid.token), style) as session:
                assert session.security.auth_method.startswith(method)
        _check_refused(server.config(user="app", password=expired.token), style)
        _check_refused(server.config(user="app", password=lambda: "an old token"), style)


def _check_refused(config: Config, style: str) -> None:
    with pytest.raises(InvalidPassword, match="password retrieved from a callable"), connected(config, style):
        pass
