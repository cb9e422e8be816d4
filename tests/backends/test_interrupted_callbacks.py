"""An exception from a signal handler inside a callback of a TLS library reaches the caller unchanged."""

from __future__ import annotations

import ctypes
import dataclasses
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import TlsError
from babar_tls.backends import TlsParameters, get_backend, openssl, stdlib
from babar_tls.tls import connection
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.context_cache import contexts

from .pairs import Pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from babar_tls.testing import CertificateAuthority

NAME = "db.example.com"
INTERRUPTIONS = (KeyboardInterrupt, SystemExit, MemoryError)


def raising(error: type[BaseException]) -> Callable[..., Any]:
    def function(*_arguments: object, **_keywords: object) -> None:
        raise error

    return function


def interrupted_handshake(error: type[BaseException], *arguments: Any) -> None:
    with pytest.raises(error):
        Pair(*arguments).handshake()


@pytest.mark.parametrize("error", INTERRUPTIONS)
def test_interruption_in_the_comparison_of_names_is_raised(
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    parameters: TlsParameters,
    authority: CertificateAuthority,
) -> None:
    monkeypatch.setattr(connection, "name_fault", raising(error))
    pair = Pair("openssl", parameters, NAME, authority.issue(NAME))
    with pytest.raises(error):
        pair.handshake()
    monkeypatch.undo()
    with pytest.raises(TlsError, match="has failed"):
        pair.client.do_handshake()  # nothing goes on without the comparison


def test_verification_has_no_callback(parameters: TlsParameters) -> None:
    """An exception would be lost while C calls Python."""
    context = contexts.get(get_backend("openssl"), parameters).context
    assert context._verify_callback is None


@pytest.mark.parametrize("error", INTERRUPTIONS)
def test_interruption_in_the_key_log_callback_is_raised(
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    parameters: TlsParameters,
    authority: CertificateAuthority,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(openssl, "append_line", raising(error))
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
    if not get_backend(backend).capabilities.reports_certificate_request:
        pytest.skip("this Python's ssl does not report it")
    if backend == "stdlib":
        monkeypatch.setattr(stdlib, "_note_request", raising(error))
    else:
        monkeypatch.setattr("OpenSSL.SSL.Connection.get_state_string", raising(error))
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
    from babar_tls.tls.parameters import ClientCertificate

    own = clients.issue(usage="client", common_name="app")
    certificate = ClientCertificate(
        certificate=own.certificate_pem, key=encrypted(own.private_key_pem), password=raising(error)
    )
    with pytest.raises(error):
        TlsConnection(get_backend(backend), dataclasses.replace(parameters, client_certificate=certificate), NAME)


def encrypted(key: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    form = serialization.BestAvailableEncryption(b"secret")
    loaded = serialization.load_pem_private_key(key, None)
    return loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, form)


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
