"""`TlsConnection` with backends that violate the rules of the interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("cryptography")

from babar_tls import CertificateError, TlsError
from babar_tls.backends import TlsParameters, stdlib
from babar_tls.testing import CertificateAuthority
from babar_tls.testing.backend_checks._pair import Pair

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.errors import Error

NAME = "db.example.com"


def backend_with(stream: type[stdlib._Stream]) -> stdlib.StdlibBackend:
    class Backend(stdlib.StdlibBackend):
        def create_stream(self, context: Any, sni: str | None, check_leaf: object) -> stdlib._Stream:
            return stream(context, sni)

    return Backend()


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def parameters(authority: CertificateAuthority, tmp_path: Path) -> TlsParameters:
    path = tmp_path / "root.crt"
    authority.write(path)
    return TlsParameters(root_cert_path=str(path), default_roots=False)


def test_errors_of_this_library_are_not_translated(authority: CertificateAuthority, parameters: TlsParameters) -> None:
    class Stream(stdlib._Stream):
        library_errors = (OSError,)

    pair = Pair(backend_with(Stream), parameters, NAME, authority.issue("other.example.com"))
    with pytest.raises(CertificateError) as caught:
        pair.handshake()
    assert caught.value.reason == "hostname-mismatch"
    assert caught.value.__cause__ is None


def test_connection_has_failed_after_an_untranslatable_error(
    authority: CertificateAuthority, parameters: TlsParameters
) -> None:
    class Stream(stdlib._Stream):
        def translate(self, error: Any, *, established: bool) -> Error:
            raise LookupError(error, established)

    pair = Pair(backend_with(Stream), parameters, NAME, CertificateAuthority().issue(NAME))
    with pytest.raises(LookupError):
        pair.handshake()
    with pytest.raises(TlsError, match="has failed"):
        pair.client.do_handshake()
    pair = Pair(backend_with(Stream), parameters, NAME, authority.issue(NAME)).handshake()
    pair.client.receive_data(b"\x17\x03\x03\0\x20" + bytes(32))
    buffer = memoryview(bytearray(10))
    with pytest.raises(LookupError):
        pair.client.read_into(buffer)
    for call in (lambda: pair.client.read_into(buffer), lambda: pair.client.write(b"secret")):
        with pytest.raises(TlsError, match="has failed"):
            call()


def test_library_error_in_receive_data_is_translated(
    authority: CertificateAuthority, parameters: TlsParameters
) -> None:
    class Stream(stdlib._Stream):
        def receive_data(self, data: Any) -> None:
            if bytes(data) == b"bad":
                raise stdlib.ssl.SSLError(1, "[SSL: BAD_RECORD_TYPE]")
            super().receive_data(data)

    pair = Pair(backend_with(Stream), parameters, NAME, authority.issue(NAME)).handshake()
    with pytest.raises(TlsError):
        pair.client.receive_data(b"bad")
    pair.client.receive_data(b"bad")  # data after a failure is ignored
    with pytest.raises(TlsError):
        pair.client.write(b"secret")
