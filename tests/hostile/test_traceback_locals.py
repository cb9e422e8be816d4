"""No local variable in the traceback of a failed connect contains a secret."""

from __future__ import annotations

import asyncio
import base64
import socket
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Config, ConfigError, Error, Session, connect, connect_async
from babar_tls.conninfo import interpret, parse, read, resolve
from babar_tls.crypto import scram_keys, scram_verifiers
from babar_tls.testing import CertificateAuthority, ScriptedServer

from .scripts import AUTHENTICATION_OK, FATAL, PASSWORD, answer_ssl_request, offer_scram, receive_until_closed, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from babar_tls.testing import ScriptedPeer, ServerCertificate

KEY = b"0123456789abcdef0123456789abcdef"
KEY_TEXT = base64.b64encode(KEY).decode()
SECRETS = (PASSWORD, KEY.decode(), KEY_TEXT)
SECRET_FIELDS = {
    "password": PASSWORD,
    "tls_client_key_password": PASSWORD,
    "scram_client_key": KEY,
    "scram_server_key": KEY,
}
STRING = f"host=h user=u password='{PASSWORD}' sslpassword='{PASSWORD}' scram_client_key={KEY_TEXT} "


def errors(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            pending += [current.__cause__, current.__context__, *getattr(current, "earlier", ())]
            yield current


def frames(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames of the tracebacks, except those of tests."""
    for each in errors(error):
        traceback = each.__traceback__
        while traceback is not None:
            if "/tests/" not in traceback.tb_frame.f_code.co_filename:
                yield traceback.tb_frame
            traceback = traceback.tb_next


def shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as exc:  # as error reports do
        return f"<unrepresentable: {exc!r}>"


def assert_no_secret(error: BaseException) -> None:
    found = [
        (frame.f_code.co_qualname, name)
        for frame in frames(error)
        for name, value in frame.f_locals.items()
        if any(secret in shown(value) for secret in SECRETS)
    ]
    assert found == []
    assert list(frames(error))
    assert not any(secret in f"{each!r}{each}{each.args}" for each in errors(error) for secret in SECRETS)


def failure(call: Callable[..., Any], *args: Any, **kwargs: Any) -> BaseException:
    with pytest.raises((Error, RuntimeError, KeyboardInterrupt)) as caught:
        call(*args, **kwargs)
    return caught.value


def open_session(config: Config, style: str) -> None:
    if style == "blocking":
        Session.connect(config)
    else:
        asyncio.run(AsyncSession.connect(config))


# Configurations ----------------------------------------------------------------------------------------------------

WRONG: list[dict[str, Any]] = [
    {"port": 0},
    {"tls_mode": "wrong"},
    {"user": "a\0"},
    {"tls_server_name": ""},
    {"require_auth": "wrong"},
    {"tls_pins": "wrong"},
    {"hosts": 5},
    {"scram_max_iterations": 0},
]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_refused_configuration_leaves_no_secret(wrong: dict[str, Any]) -> None:
    assert_no_secret(failure(Config, **SECRET_FIELDS, **wrong))
    assert_no_secret(failure(Config(**SECRET_FIELDS).replace, **wrong))
    assert_no_secret(failure(Config().replace, **SECRET_FIELDS, **wrong))
    assert_no_secret(failure(Config.from_conninfo, "host=h", **SECRET_FIELDS, **wrong))
    assert_no_secret(failure(connect, "host=h", **SECRET_FIELDS, **wrong))
    assert_no_secret(failure(lambda: asyncio.run(connect_async("host=h", **SECRET_FIELDS, **wrong))))


def test_failed_to_conninfo_leaves_no_secret() -> None:
    assert_no_secret(failure(Config(**{**SECRET_FIELDS, "tls_client_cert": b"x"}).to_conninfo))


@pytest.mark.parametrize(
    "rest", ["x", "'x", "usr=x", "sslmode=x", "port=x", "service=none", f"scram_server_key={KEY_TEXT}x"]
)
def test_refused_string_leaves_no_secret(rest: str) -> None:
    for call in (
        Config.from_conninfo,
        read,
        connect,
        lambda text: interpret(resolve(text)),
        lambda text: asyncio.run(connect_async(text)),
    ):
        assert_no_secret(failure(call, STRING + rest))


@pytest.mark.parametrize("rest", ["h:x", "h?x", "h/d?usr=x", "h?sslmode=x", "h/%zz", "@h", "h/%ff"])
def test_refused_uri_leaves_no_secret(rest: str) -> None:
    for call in (Config.from_conninfo, connect):
        assert_no_secret(failure(call, f"postgresql://u:{PASSWORD.replace(' ', '%20')}@{rest}"))
        assert_no_secret(failure(call, f"postgresql://u:{PASSWORD}@{rest}"))


def test_parser_leaves_no_secret() -> None:
    assert_no_secret(failure(parse, STRING + "x"))


def test_refused_environment_and_service_leave_no_secret(tmp_path: Path) -> None:
    environ = {"PGPASSWORD": PASSWORD, "PGSSLMODE": "wrong"}
    assert_no_secret(failure(Config.from_conninfo, "host=h", environ=environ))
    path = tmp_path / "services"
    path.write_text(f"[s]\npassword={PASSWORD}\nwrong\n")
    assert_no_secret(failure(Config.from_conninfo, f"service=s servicefile={path}"))


def test_scram_functions_leave_no_secret() -> None:
    assert_no_secret(failure(scram_keys, PASSWORD, b"salt", 0))
    assert_no_secret(failure(scram_verifiers, [PASSWORD, ""]))


# Connects ----------------------------------------------------------------------------------------------------------


def test_refused_connection_leaves_no_secret(config: Config, style: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        refused = config.replace(port=sock.getsockname()[1], scram_client_key=KEY, scram_server_key=KEY)
        assert_no_secret(failure(open_session, refused, style))


@pytest.mark.parametrize("answer", [b"N", b"E", b"x", b"Sgarbage"])
def test_failed_negotiation_leaves_no_secret(config: Config, style: str, backend: str, answer: bytes) -> None:
    with ScriptedServer(answer_ssl_request(answer)) as server:
        refused = config.replace(port=server.port, tls_backend=backend)
        assert_no_secret(failure(open_session, refused, style))


def test_refused_certificate_leaves_no_secret(config: Config, style: str, backend: str) -> None:
    with ScriptedServer(receive_until_closed, tls=CertificateAuthority().issue("127.0.0.1")) as server:
        assert_no_secret(failure(open_session, config.replace(port=server.port, tls_backend=backend), style))


def error_response(peer: ScriptedPeer) -> None:
    peer.send_message(b"E", FATAL)


def request_password(peer: ScriptedPeer) -> None:
    peer.receive_startup()
    peer.send_message(b"R", request(3))
    peer.receive_message()
    error_response(peer)


def request_md5(peer: ScriptedPeer) -> None:
    peer.receive_startup()
    peer.send_message(b"R", request(5, b"salt"))
    peer.receive_message()
    error_response(peer)


def refuse_at_once(peer: ScriptedPeer) -> None:
    peer.receive_startup()
    error_response(peer)


def break_scram(peer: ScriptedPeer) -> None:
    offer_scram(peer, b"SCRAM-SHA-256")
    peer.send_message(b"R", request(11, b"r=x,s=AAAA,i=1"))


def authentication_ok_without_proof(peer: ScriptedPeer) -> None:
    offer_scram(peer, b"SCRAM-SHA-256")
    peer.send_message(b"R", AUTHENTICATION_OK)


def disconnect(peer: ScriptedPeer) -> None:
    offer_scram(peer, b"SCRAM-SHA-256")


@pytest.mark.parametrize(
    "script", [request_password, request_md5, refuse_at_once, break_scram, authentication_ok_without_proof, disconnect]
)
def test_failed_authentication_leaves_no_secret(
    config: Config,
    certificate: ServerCertificate,
    style: str,
    backend: str,
    script: Callable[[ScriptedPeer], None],
) -> None:
    with ScriptedServer(script, tls=certificate) as server:
        refused = config.replace(port=server.port, tls_backend=backend)
        assert_no_secret(failure(open_session, refused, style))


def test_wrong_key_password_leaves_no_secret(
    config: Config, certificate: ServerCertificate, style: str, backend: str
) -> None:
    key = certificate.private_key(password=b"another")
    identity = {"tls_client_cert": certificate.certificate_pem, "tls_client_key": key}
    with ScriptedServer(receive_until_closed, tls=certificate) as server:
        for password in (PASSWORD, PASSWORD.encode(), lambda: PASSWORD):
            refused = config.replace(
                port=server.port, tls_backend=backend, tls_client_key_password=password, **identity
            )
            error = failure(open_session, refused, style)
            assert isinstance(error, ConfigError)
            assert_no_secret(error)


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_failing_key_password_callable_leaves_no_secret(
    config: Config, certificate: ServerCertificate, backend: str, kind: type[BaseException]
) -> None:
    def key_password() -> str:
        raise kind

    key = certificate.private_key(password=b"another")
    identity = {"tls_client_cert": certificate.certificate_pem, "tls_client_key": key}
    with ScriptedServer(receive_until_closed, tls=certificate) as server:
        refused = config.replace(
            port=server.port, tls_backend=backend, tls_client_key_password=key_password, **identity
        )
        assert_no_secret(failure(open_session, refused, "blocking"))


# Frames of the caller ----------------------------------------------------------------------------------------------


def test_frames_of_the_caller_keep_their_variables() -> None:
    """This includes the frames of an error that the caller was handling, and of a callable of the caller."""

    def earlier() -> None:
        mine = "kept"
        raise ValueError(mine)

    try:
        earlier()
    except ValueError:
        error = failure(Config, **SECRET_FIELDS, port=0)
    context = error.__context__
    assert isinstance(context, ValueError)
    assert context.__traceback__ is not None
    assert context.__traceback__.tb_next is not None
    assert context.__traceback__.tb_next.tb_frame.f_locals["mine"] == "kept"
