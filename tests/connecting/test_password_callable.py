"""A callable as password: when it is called, with which result, and what happens if it fails."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import socket
import time
import traceback
import types
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hostile.scripts import PASSWORD, SSL_REQUEST

from babar_tls import AsyncSession, AuthError, Config, ConfigError, Host, InvalidPassword, PasswordUnavailable, Session
from babar_tls.net.key_cache import key_cache
from babar_tls.testing import ScramServer, ScriptedServer

from . import lifetime
from .lifetime import answer_queries, query_server, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from babar_tls.testing import ScriptedPeer, ServerCertificate

no_leaks, no_leaked_threads = lifetime.no_leaks, lifetime.no_leaked_threads
backend, certificate, root, config, honest = (
    lifetime.backend,
    lifetime.certificate,
    lifetime.root,
    lifetime.config,
    lifetime.honest,
)

SECRET = "wrong token of a service"

#: The kind of session, and of callable.
STYLES = ["blocking", "asyncio", "coroutine", "uvloop", "uvloop coroutine"]


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> str:
    if "uvloop" in request.param:
        pytest.importorskip("uvloop")
    return str(request.param)


@pytest.fixture
def target(config: Config, honest: ScramServer) -> Config:
    return config.replace(port=honest.port)


class Token:
    """A callable that counts its calls.

    Args:
        result: The result, or the exception to raise.
        style: A style with "coroutine" makes the result awaitable.
    """

    def __init__(self, result: object = PASSWORD, style: str = "") -> None:
        self._result = result
        self._is_coroutine = "coroutine" in style
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        return self._later() if self._is_coroutine else self._now()

    def _now(self) -> object:
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result

    async def _later(self) -> object:
        await asyncio.sleep(0)
        return self._now()


def connect(
    config: Config, style: str, then: Callable[[Session | AsyncSession], object] = lambda session: None
) -> None:
    """Connect in a style, call `then` with the session, and close the session."""
    if style == "blocking":
        with Session.connect(config) as session:
            then(session)
        return

    async def main() -> None:
        async with await AsyncSession.connect(config) as session:
            then(session)

    run(main, loop_factory=pytest.importorskip("uvloop" if "uvloop" in style else "asyncio").new_event_loop)


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def unused() -> Iterator[ScriptedServer]:
    """Return a server that must not be tried."""

    def script(_peer: object) -> None:
        pytest.fail("the server was tried")

    with ScriptedServer(script) as server:
        yield server


# Calls


@pytest.mark.parametrize("password", [PASSWORD, PASSWORD.encode()], ids=["str", "bytes"])
def test_password_of_the_callable_is_used(target: Config, style: str, backend: str, password: str | bytes) -> None:
    token = Token(password, style)
    connect(target.replace(password=token, tls_backend=backend), style)
    assert token.calls == 1


def test_callable_is_called_once_for_each_connect(target: Config, style: str) -> None:
    token = Token(style=style)
    configured = target.replace(password=token)
    for _ in range(3):
        connect(configured, style)
    assert token.calls == 3


def test_callable_is_called_once_for_several_hosts(target: Config, style: str) -> None:
    token = Token(style=style)
    hosts = [Host("127.0.0.1", port) for port in (closed_port(), closed_port(), target.port)]
    connect(target.replace(hosts=hosts, password=token), style)
    assert token.calls == 1


def test_callable_is_called_once_for_several_attempts(config: Config, style: str) -> None:
    """A broken TLS handshake is followed by an attempt without TLS on another connection."""
    token = Token(style=style)
    with ScriptedServer(break_tls) as server:
        fallback = config.replace(port=server.port, tls_mode="prefer", tls_fallback=True)
        connect(fallback.replace(password=token), style)
    assert token.calls == 1


def break_tls(peer: ScriptedPeer) -> None:
    """Close a connection with TLS before the handshake; accept a connection without TLS."""
    if peer.socket.recv(len(SSL_REQUEST), socket.MSG_PEEK) == SSL_REQUEST:
        peer.receive_startup()
        peer.send(b"S")
    else:
        answer_queries(None)(peer)


@pytest.mark.parametrize(
    "fields",
    [
        {"require_auth": "none"},
        {"scram_client_key": bytes(32), "scram_server_key": bytes(32), "channel_binding": "require"},
        {"scram_client_key": bytes(32), "scram_server_key": bytes(32), "require_auth": "scram-sha-256,none"},
    ],
    ids=["no method", "SCRAM keys and binding", "SCRAM keys"],
)
def test_callable_is_not_called_if_no_allowed_method_needs_a_password(
    target: Config, style: str, fields: dict[str, Any]
) -> None:
    token = Token(style=style)
    with pytest.raises(AuthError) as caught:
        connect(target.replace(password=token, **fields), style)
    assert token.calls == 0
    assert "callable" not in str(caught.value)


def test_cancel_request_does_not_call_the_callable(certificate: ServerCertificate, config: Config, style: str) -> None:
    token = Token(style=style)

    def cancel(session: Session | AsyncSession) -> None:
        request = session._cancel_request()
        assert request.config.password is token

    with query_server(certificate) as server:
        connect(config.replace(port=server.port, password=token), style, cancel)
    assert token.calls == 1


def test_callable_has_the_context_of_the_caller(target: Config, style: str) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    async def later() -> str:
        seen.append(variable.get())
        return PASSWORD

    def token() -> Any:
        seen.append(variable.get())
        return later() if "coroutine" in style else PASSWORD

    def connect_with_context() -> None:
        variable.set("request 1")
        connect(target.replace(password=token), style)

    contextvars.copy_context().run(connect_with_context)
    assert set(seen) == {"request 1"}


# Results


@pytest.mark.parametrize("result", [None, 3, bytearray(b"a secret"), ["a secret"]])
def test_result_of_another_type_is_refused_and_not_shown(
    config: Config, unused: ScriptedServer, style: str, result: object
) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(config.replace(port=unused.port, password=Token(result, style)), style)
    error = caught.value
    assert error.message == f"the callable in password must return str or bytes, not {type(result).__name__}"
    assert error.endpoint == f'server at "127.0.0.1", port {unused.port}'
    assert "a secret" not in str(error)


def test_result_with_a_surrogate_is_refused(config: Config, unused: ScriptedServer, style: str) -> None:
    with pytest.raises(ConfigError, match="lone surrogate"):
        connect(config.replace(port=unused.port, password=Token("\ud800", style)), style)


@pytest.mark.parametrize("empty", ["", b""])
def test_empty_result_is_no_password(target: Config, style: str, empty: str | bytes, tmp_path: Path) -> None:
    """The password file is not used: the callable replaces it."""
    passfile = tmp_path / "passfile"
    passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
    passfile.chmod(0o600)
    with pytest.raises(AuthError, match="no password supplied"):
        connect(target.replace(password=Token(empty, style), passfile=passfile), style)


def test_refused_password_is_reported_as_that_of_a_callable(target: Config, style: str) -> None:
    with pytest.raises(InvalidPassword) as caught:
        connect(target.replace(password=Token(SECRET, style)), style)
    assert "password retrieved from a callable" in str(caught.value)


def test_blocking_connect_refuses_an_awaitable(config: Config, unused: ScriptedServer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConfigError, match=r"Session\.connect cannot await"):
            Session.connect(config.replace(port=unused.port, password=Token(style="coroutine")))
        gc.collect()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("style", ["coroutine", "uvloop coroutine"])
def test_coroutine_as_result_of_an_awaitable_is_closed(
    config: Config, unused: ScriptedServer, style: str, late: bool
) -> None:
    """Otherwise Python would warn that it was never awaited."""
    if "uvloop" in style:
        pytest.importorskip("uvloop")

    async def twice() -> object:
        if late:
            time.sleep(0.3)  # noqa: ASYNC251 - the event loop cannot cancel it
        return Token(style="coroutine")()

    expected = TimeoutError if late else ConfigError
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(expected) as caught:
            connect(config.replace(port=unused.port, password=twice, connect_timeout=0.1 if late else 10), style)
        gc.collect()
    assert late or "must return str or bytes, not coroutine" in str(caught.value)


# Exceptions


@pytest.mark.parametrize("kind", [ValueError, OSError, TimeoutError, StopIteration, ConfigError, asyncio.QueueEmpty])
def test_exception_of_the_callable_is_wrapped(
    config: Config, unused: ScriptedServer, style: str, kind: type[Exception]
) -> None:
    """No host is tried."""
    cause = kind(SECRET)
    hosts = [Host("127.0.0.1", unused.port), Host("localhost", unused.port)]
    with pytest.raises(PasswordUnavailable) as caught:
        connect(config.replace(hosts=hosts, password=Token(cause, style)), style)
    error = caught.value
    # A coroutine cannot raise StopIteration: Python replaces it (PEP 479).
    expected = RuntimeError if kind is StopIteration and "coroutine" in style else kind
    assert type(error.__cause__) is expected
    assert error.message == f"no password supplied: the callable in password raised {expected.__name__}"
    assert error.endpoint == f'server at "127.0.0.1", port {unused.port} or server at "localhost", port {unused.port}'
    assert SECRET not in str(error)


@pytest.mark.parametrize("style", ["blocking", "asyncio", "coroutine"])
def test_exceptions_that_end_the_program_are_not_wrapped(config: Config, unused: ScriptedServer, style: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        connect(config.replace(port=unused.port, password=Token(KeyboardInterrupt(), style)), style)


@pytest.mark.parametrize("style", ["asyncio", "coroutine"])
def test_cancelled_error_of_the_callable_is_not_wrapped(config: Config, unused: ScriptedServer, style: str) -> None:
    with pytest.raises(asyncio.CancelledError):
        connect(config.replace(port=unused.port, password=Token(asyncio.CancelledError(), style)), style)


# Secrets


def held_by(start: object) -> Iterator[object]:
    """Yield the objects that an object refers to, directly or not, without code, modules and the running program."""
    seen: set[int] = set()
    pending = [start]
    while pending:
        current = pending.pop()
        if id(current) in seen or isinstance(
            current, type | types.ModuleType | types.FunctionType | types.FrameType | asyncio.AbstractEventLoop | Token
        ):
            continue
        seen.add(id(current))
        yield current
        pending += gc.get_referents(current)


def test_password_is_not_kept_after_the_connect(target: Config, style: str, backend: str) -> None:
    token = Token(style=style)
    key_cache.clear()

    def check(session: Session | AsyncSession) -> None:
        held = list(held_by(session))
        assert session.config in held
        assert not [each for each in held if isinstance(each, str | bytes) and each in (PASSWORD, PASSWORD.encode())]
        assert session.config.password is token

    connect(target.replace(password=token, tls_backend=backend, scram_key_cache=True), style, check)
    assert len(key_cache._keys) == 0


@pytest.mark.parametrize("is_refused", [True, False])
def test_tracebacks_do_not_contain_the_password(*, target: Config, style: str, backend: str, is_refused: bool) -> None:
    token = Token(SECRET if is_refused else [SECRET], style)
    with pytest.raises((InvalidPassword, ConfigError)) as caught:
        connect(target.replace(password=token, tls_backend=backend), style)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert SECRET not in "".join(report.format())
