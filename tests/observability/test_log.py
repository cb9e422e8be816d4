"""The lines of the logger ``babar_tls`` for DEBUG."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import babar_tls
from babar_tls import Config, Host, InvalidPassword, PasswordUnavailable, TimeoutError, Unreachable

from .opening import connect, connect_async

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import PostgresServer

PHASES = ["tcp", "negotiate", "tls", "auth", "ready"]
SECRET = "hunter2-secret"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "babar_tls"):
        yield caplog


def keys(record: logging.LogRecord) -> dict[str, Any]:
    return {name.removeprefix("babar_tls_"): value for name, value in vars(record).items() if "babar_tls_" in name}


def phases(log: pytest.LogCaptureFixture) -> list[str]:
    return [keys(record)["phase"] for record in log.records if keys(record).get("event") == "phase"]


def test_phases_are_logged_in_order_and_then_a_summary(
    config: Config, style: str, log: pytest.LogCaptureFixture
) -> None:
    connect(config, style)
    assert phases(log) == PHASES
    *lines, last = log.records
    assert last.getMessage().startswith(f'server at "127.0.0.1", port {config.port}: ready after ')
    assert "TLSv1.3" in last.getMessage()
    assert "channel bound" in last.getMessage()
    found = keys(last)
    assert found["event"] == "ready"
    assert found["security"]["verified"] == "full"
    assert found["security"]["peer_fingerprint_sha256"]
    assert "peer_certificate" not in found["security"]
    assert sum(keys(line)["seconds"] for line in lines) <= found["seconds"]
    assert {keys(line)["server"] for line in log.records} == {f'server at "127.0.0.1", port {config.port}'}
    for line in lines:
        assert f": {keys(line)['phase']} took " in line.getMessage()
        assert keys(line)["seconds"] >= 0


def test_lookup_and_password_are_phases(config: Config, style: str, log: pytest.LogCaptureFixture) -> None:
    config = config.replace(host="localhost", port=config.port, password=lambda: "secret")
    connect(config, style)
    assert phases(log) == ["password", "resolve", *PHASES]
    assert f'server at "localhost" (127.0.0.1), port {config.port}: tls took' in log.text.replace("::1", "127.0.0.1")


def test_refused_login_is_logged(config: Config, style: str, log: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidPassword):
        connect(config.replace(password="wrong"), style)
    assert phases(log) == ["tcp", "negotiate", "tls"]
    found = keys(log.records[-1])
    assert (found["event"], found["error"], found["sqlstate"]) == ("failed", "InvalidPassword", "28P01")
    assert "failed after" in log.records[-1].getMessage()
    assert 'InvalidPassword: password authentication failed for user "app"' in log.records[-1].getMessage()


def test_phases_of_each_host_are_logged(
    config: Config, refused: Config, style: str, log: pytest.LogCaptureFixture
) -> None:
    connect(config.replace(hosts=(Host("127.0.0.1", refused.port), config.targets[0])), style)
    assert phases(log) == PHASES
    assert log.records[-1].getMessage().startswith(f'server at "127.0.0.1", port {config.port}: ready')


def test_both_attempts_of_a_fallback_are_logged(server: PostgresServer, log: pytest.LogCaptureFixture) -> None:
    config = server.config(user="app", password="secret", tls_mode="prefer", tls_fallback=True)
    config = config.replace(tls_root_cert_path=None, tls_default_roots=True, tls_fallback=True, tls_mode="prefer")
    connect(config, "blocking")
    assert phases(log) == ["tcp", "negotiate", "tcp", "auth", "ready"]


@pytest.mark.parametrize("timeout", [30, None])
def test_phase_is_logged_before_the_next_one_waits(
    timeout: float | None, style: str, log: pytest.LogCaptureFixture
) -> None:
    """A server that hangs is found in the log."""
    pytest.importorskip("cryptography", reason="babar_tls.testing needs it")
    from babar_tls.testing import ScriptedServer

    is_logged = threading.Event()
    waited = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if keys(record).get("phase") == "tcp":
                is_logged.set()

    def script(peer: Any) -> None:
        waited.append(is_logged.wait(20))  # the answer to SSLRequest waits for the line
        peer.close()

    handler = Handler()
    logging.getLogger("babar_tls").addHandler(handler)
    try:
        with ScriptedServer(script) as server, pytest.raises(babar_tls.Error):
            connect(Config(host=server.host, port=server.port, user="app", connect_timeout=timeout), style)
    finally:
        logging.getLogger("babar_tls").removeHandler(handler)
    assert waited == [True]


def test_authentication_is_logged_while_the_server_delays_the_session(
    style: str, log: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("cryptography", reason="babar_tls.testing needs it")
    from babar_tls.testing import ScriptedServer

    def script(peer: Any) -> None:
        peer.receive_startup()
        peer.send_message(b"R", bytes(4))
        while peer.receive():
            pass

    with ScriptedServer(script) as server, pytest.raises(TimeoutError):
        connect(Config(host=server.host, port=server.port, user="app", tls_mode="disable", connect_timeout=1), style)
    assert phases(log) == ["tcp", "auth"]
    assert keys(log.records[-1])["error"] == "TimeoutError"
    assert "waiting for the session to be ready" in log.records[-1].getMessage()


def test_lines_contain_no_secret(config: Config, style: str, log: pytest.LogCaptureFixture) -> None:
    def fail() -> str:
        raise ValueError(SECRET)

    with pytest.raises(InvalidPassword):
        connect(config.replace(password=SECRET), style)
    with pytest.raises(PasswordUnavailable):
        connect(config.replace(password=fail), style)
    assert len(log.records) > 3
    assert not any(SECRET in repr(vars(record)) for record in log.records)


def test_text_of_another_exception_is_not_logged(refused: Config, style: str, log: pytest.LogCaptureFixture) -> None:
    class StopNow(BaseException):
        pass

    def stop() -> str:
        raise StopNow(SECRET)

    with pytest.raises(StopNow):
        connect(refused.replace(password=stop), style)
    assert log.records[-1].getMessage().endswith(": StopNow")


def test_lines_are_single_lines(refused: Config, log: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Unreachable):
        connect(refused, "blocking")
    assert all("\n" not in record.getMessage() for record in log.records)


def test_nothing_is_logged_without_debug(config: Config, style: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "babar_tls"):
        connect(config, style)
    assert caplog.records == []


def test_queries_are_not_logged(config: Config, log: pytest.LogCaptureFixture) -> None:
    with babar_tls.Session.connect(config) as session:
        log.clear()
        session.query("select 1")
    assert log.records == []


def test_slow_log_handler_does_not_stop_other_connects(config: Config) -> None:
    """More handlers block at once than threads may compute."""
    connects = 8
    barrier = threading.Barrier(connects, timeout=20)

    class Handler(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:  # without the handler's lock
            if keys(record).get("phase") == "tls":
                barrier.wait()
            return True

    async def main() -> None:
        await asyncio.gather(*(connect_async(config) for _ in range(connects)))

    logger, handler = logging.getLogger("babar_tls"), Handler()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        asyncio.run(main())
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert not barrier.broken


def test_logging_is_not_imported_by_a_connect() -> None:
    folder = str(Path(babar_tls.__file__).parents[1])
    code = (
        f"import sys; sys.path.insert(0, {folder!r}); import babar_tls\n"
        "try: babar_tls.connect('host=127.0.0.1 port=1')\n"
        "except babar_tls.Unreachable: print('logging' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - this Python
    assert run.stdout.split() == ["False"]
