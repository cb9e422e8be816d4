"""What a signal handler raises inside a callback of a TLS library reaches the caller, and is not reported as TLS."""

from __future__ import annotations

import ctypes
import dataclasses
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import CertificateError, TlsError
from babar_tls.backends import TlsParameters, get_backend, openssl_context, stdlib_context
from babar_tls.backends.callback_exceptions import run_with_callbacks

from .pairs import Pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from babar_tls.testing import CertificateAuthority

NAME = "db.example.com"
INTERRUPTIONS = (KeyboardInterrupt, SystemExit, MemoryError)
SSL = pytest.importorskip("OpenSSL.SSL")


def raising(error: type[BaseException]) -> Callable[..., Any]:
    def function(*_arguments: object, **_keywords: object) -> None:
        raise error

    return function


@pytest.fixture(autouse=True)
def hook_is_restored() -> Any:
    before = sys.unraisablehook
    yield
    run_with_callbacks(int)  # repairs what two interruptions at the same time left behind
    assert sys.unraisablehook is before


def interrupted_handshake(error: type[BaseException], *arguments: Any) -> None:
    with pytest.raises(error):
        Pair(*arguments).handshake()


@pytest.mark.parametrize("error", INTERRUPTIONS)
@pytest.mark.parametrize("place", ["our callback", "before it", "after it"])
def test_interruption_in_the_verify_callback_is_raised(
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    place: str,
    parameters: TlsParameters,
    authority: CertificateAuthority,
) -> None:
    if place == "our callback":
        monkeypatch.setattr(openssl_context, "name_fault", raising(error))
    elif place == "before it":  # in pyOpenSSL's part of the callback
        monkeypatch.setattr(SSL.X509, "_from_raw_x509_ptr", raising(error))
    else:

        class Truth:
            __bool__ = raising(error)

        wrapped = openssl_context._verify
        monkeypatch.setattr(openssl_context, "_verify", lambda *arguments: wrapped(*arguments) and Truth())
    fresh = dataclasses.replace(parameters, crl_path=None, ciphers=())
    backend = type(get_backend("openssl"))()  # without contexts that have the callback already
    interrupted_handshake(error, backend, fresh, NAME, authority.issue(NAME))


@pytest.mark.parametrize("error", INTERRUPTIONS)
def test_interruption_in_the_key_log_callback_is_raised(
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    parameters: TlsParameters,
    authority: CertificateAuthority,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(openssl_context, "append_line", raising(error))
    logged = dataclasses.replace(parameters, key_log_path=str(tmp_path / "keys"))
    interrupted_handshake(error, "openssl", logged, NAME, authority.issue(NAME))


@pytest.mark.parametrize("error", INTERRUPTIONS)
@pytest.mark.parametrize("backend", ["stdlib", "openssl"])
def test_interruption_in_the_message_callback_is_raised(
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    backend: str,
    parameters: TlsParameters,
    authority: CertificateAuthority,
) -> None:
    if not get_backend(backend).capabilities().reports_certificate_request:
        pytest.skip("this Python's ssl does not report it")
    module = stdlib_context if backend == "stdlib" else openssl_context
    monkeypatch.setattr(module, "_note_request", raising(error))
    watching = dataclasses.replace(parameters, watch_certificate_request=True)
    fresh = type(get_backend(backend))()
    interrupted_handshake(error, fresh, watching, NAME, authority.issue(NAME))


@pytest.mark.parametrize("error", INTERRUPTIONS)
def test_interruption_in_the_password_callback_is_raised(
    backend: str,
    error: type[BaseException],
    parameters: TlsParameters,
    clients: CertificateAuthority,
) -> None:
    from babar_tls.backends.base import ClientCertificate

    own = clients.issue(usage="client", common_name="app")
    certificate = ClientCertificate(
        certificate=own.certificate_pem, key=encrypted(own.private_key_pem), password=raising(error)
    )
    with pytest.raises(error):
        get_backend(backend).wrap(dataclasses.replace(parameters, client_certificate=certificate), NAME)


def encrypted(key: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    form = serialization.BestAvailableEncryption(b"secret")
    loaded = serialization.load_pem_private_key(key, None)
    return loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, form)


def test_certificate_that_cannot_be_processed_is_a_certificate_error(
    monkeypatch: pytest.MonkeyPatch, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    monkeypatch.setattr(openssl_context, "name_fault", raising(ValueError))
    with pytest.raises(CertificateError, match="cannot be processed"):
        Pair("openssl", parameters, NAME, authority.issue(NAME)).handshake()


def test_interruptions_at_any_point_are_never_tls_errors(
    parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """`PyThreadState_SetAsyncExc` raises at the next bytecode after each of the first lines that are traced."""
    certificate = authority.issue(NAME)
    outcomes = set()
    for point in range(0, 400, 3):
        seen = 0

        def trace(_frame: Any, event: str, _argument: Any, point: int = point) -> Any:
            nonlocal seen
            if event == "line":
                seen += 1
                if seen == point:
                    thread = ctypes.c_ulong(threading.get_ident())
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(KeyboardInterrupt))
            return trace

        pair = Pair("openssl", parameters, NAME, certificate)
        sys.settrace(trace)
        try:
            pair.handshake()
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted"
        except TlsError as error:
            outcome = str(error)
        finally:
            sys.settrace(None)
        outcomes.add(outcome)
    assert outcomes <= {"done", "interrupted"}
    assert "interrupted" in outcomes


def test_other_unraisable_errors_reach_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)

    class Dying:
        def __del__(self) -> None:
            raise ValueError

    def step() -> str:
        Dying()
        return "result"

    assert run_with_callbacks(step) == "result"
    assert run_with_callbacks(run_with_callbacks, step) == "result"
    assert [type(item.exc_value) for item in seen] == [ValueError, ValueError]
