"""`TlsConnection`: fragmentation, close_notify, truncation, and no data before the handshake is complete."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import ssl
import weakref
from typing import TYPE_CHECKING

import pytest

from babar_tls import CertificateError, Closed, ConfigError, Error, TlsError, TlsVerify, TlsVersion
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.tls.connection import TlsConnection

from .pairs import TLS_VERSIONS, Pair, only

if TYPE_CHECKING:
    from babar_tls.testing import CertificateAuthority, ServerCertificate

NAME = "db.example.com"


@pytest.fixture(scope="module")
def certificate(authority: CertificateAuthority) -> ServerCertificate:
    return authority.issue(NAME, "127.0.0.1", "::1")


@pytest.mark.parametrize("fragment", [None, 1, 7])
@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_data_arrives_in_any_fragmentation(
    backend: str, version: str, fragment: int | None, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    pair = Pair(backend, parameters, NAME, certificate, fragment=fragment, **only(version)).handshake()
    assert pair.client.facts.version == version
    pair.client.write(b"ping")
    assert pair.server_read() == b"ping"
    pair.server_write(b"pong")
    assert pair.read() == b"pong"
    pair.server_write(b"a longer word")
    assert pair.read(size=1) == b"a longer word"


@pytest.mark.parametrize("version", TLS_VERSIONS)
@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 3_000_001])
def test_write_encrypts_all_data_of_any_size_and_type(
    backend: str, version: str, size: int, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    pair = Pair(backend, parameters, NAME, certificate, **only(version)).handshake()
    pair.server_read()
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    for buffer in (data, bytearray(data), memoryview(data)):
        pair.client.write(buffer)
        assert pair.server_read() == data
    if not size:
        assert pair.client.data_to_send() == b""
    pair.server_write(data)
    assert pair.read() == data


def test_reading_into_an_empty_buffer_is_not_close_notify(
    backend: str, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    pair = Pair(backend, parameters, NAME, certificate).handshake()
    pair.server_write(b"here")
    assert pair.client.read_into(memoryview(b"")) is None
    assert pair.read() == b"here"


def test_data_after_the_last_flight_is_kept_until_it_is_read(
    backend: str, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    pair = Pair(backend, parameters, NAME, certificate, **only("TLSv1.2"))
    flights = []
    while not pair.client.do_handshake():
        pair._to_server.write(pair.client.data_to_send())
        pair._serve()
        if pair._server_done:
            pair.server.write(b"early bird")
        flights.append(pair._from_server.read())
        pair.client.receive_data(flights[-1])
    assert pair.read() == b"early bird"


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_close_notify_of_the_server_ends_the_data_without_an_error(
    backend: str, version: str, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    pair = Pair(backend, parameters, NAME, certificate, **only(version)).handshake()
    pair.server_read()
    pair.server.write(b"last words")
    with pytest.raises(Exception, match="did not complete"):  # it waits for the client's close_notify
        pair.server.unwrap()
    pair.carry()
    pair.client.receive_eof()
    assert pair.read() == b"last words"
    assert pair.client.read_into(memoryview(bytearray(10))) == 0
    assert pair.read() == b""


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_close_notify_is_sent_once_and_ends_writing(
    backend: str, version: str, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    pair = Pair(backend, parameters, NAME, certificate, **only(version)).handshake()
    pair.client.close_notify()
    pair.client.close_notify()
    pair.carry()
    assert pair.server.read(10) == b""
    with pytest.raises(TlsError):
        pair.client.write(b"afterthought")


@pytest.mark.parametrize("version", TLS_VERSIONS)
@pytest.mark.parametrize("cut", [0, 10])
def test_end_without_close_notify_is_an_error(
    backend: str, version: str, cut: int, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    """Between records and within a record, because data may be missing."""
    pair = Pair(backend, parameters, NAME, certificate, **only(version)).handshake()
    pair.server_write(b"half of")
    pair.server.write(b"the truth")
    pair.client.receive_data(pair._from_server.read()[:cut])
    pair.client.receive_eof()
    buffer = memoryview(bytearray(100))
    assert bytes(buffer[: pair.client.read_into(buffer) or 0]) == b"half of"
    for _ in range(2):
        with pytest.raises(Closed, match="closed the connection unexpectedly"):
            pair.client.read_into(buffer)


@pytest.mark.parametrize("cut", [0, 5, 300])
def test_end_within_the_handshake_is_reported_as_closed_by_the_server(
    backend: str, cut: int, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    pair = Pair(backend, parameters, NAME, certificate)
    assert pair.client.do_handshake() is False
    pair._to_server.write(pair.client.data_to_send())
    pair._serve()
    pair.client.receive_data(pair._from_server.read()[:cut])
    pair.client.receive_eof()
    for _ in range(2):
        with pytest.raises(TlsError, match="server closed the connection unexpectedly during the TLS handshake"):
            pair.client.do_handshake()


def test_reading_and_writing_before_the_handshake_is_refused(
    backend: str, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    pair = Pair(backend, parameters, NAME, certificate)
    for _ in range(2):
        with pytest.raises(TlsError, match="not finished"):
            pair.client.write(b"secret")
        with pytest.raises(TlsError, match="not finished"):
            pair.client.read_into(memoryview(bytearray(10)))
        assert pair.client.data_to_send() == b""
        pair.client.close_notify()
    pair = Pair(backend, parameters, NAME, certificate).handshake()
    assert pair.server_read() == b""


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_failed_handshake_stays_failed(
    backend: str, version: str, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    """It cannot be repeated, no data is returned, and the server receives an alert."""
    pair = Pair(backend, parameters, "other.example.com", certificate, **only(version))
    with pytest.raises(CertificateError):
        pair.handshake()
    for _ in range(2):
        with pytest.raises(Error):
            pair.client.do_handshake()
        with pytest.raises(Error):
            pair.client.write(b"secret")
        with pytest.raises(Error):
            pair.client.read_into(memoryview(bytearray(10)))
    pair.carry()
    pair._serve()
    assert not pair._server_done
    assert pair.server_error is not None
    assert "ALERT" in (pair.server_error.reason or "")


@pytest.mark.parametrize(
    ("hostname", "sent"),
    [(NAME, NAME), ("127.0.0.1", None), ("::1", None), ("DB.EXAMPLE.COM", "DB.EXAMPLE.COM")],
)
def test_names_are_sent_as_sni_and_addresses_are_not(
    backend: str, hostname: str, sent: str | None, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    """RFC 6066 §3."""
    pair = Pair(backend, parameters, hostname, certificate).handshake()
    assert (pair.offer.server_name or "").lower() == (sent or "").lower()


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_sni_can_be_omitted(
    backend: str, version: str, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    """The name is still verified."""
    for level in (TlsVerify.CA, TlsVerify.FULL):
        silent = dataclasses.replace(parameters, send_server_name=False, verify=level)
        assert Pair(backend, silent, NAME, certificate, **only(version)).handshake().offer.server_name is None
    pair = Pair(backend, silent, "other.example.com", certificate, **only(version))
    with pytest.raises(CertificateError, match="does not match") as caught:
        pair.handshake()
    assert caught.value.reason == "hostname-mismatch"
    assert_nothing_flows(pair)


def test_common_name_is_compared_by_the_rules_of_libpq(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    lenient = dataclasses.replace(parameters, common_name=True)
    old = authority.issue(NAME, san=False)
    if not get_backend(backend).capabilities.common_names:
        with pytest.raises(CertificateError) as caught:
            Pair(backend, lenient, NAME, old).handshake()
        assert caught.value.reason == "common-name-only"
        return
    for chosen in (lenient, dataclasses.replace(lenient, send_server_name=False)):
        Pair(backend, chosen, NAME, old).handshake()
        for version in TLS_VERSIONS:
            pair = Pair(backend, chosen, "other.example.com", old, **only(version))
            with pytest.raises(CertificateError, match=f'for "{NAME}" does not match host name "other.example.com"'):
                pair.handshake()
            assert_nothing_flows(pair)
    with pytest.raises(CertificateError) as caught:
        Pair(backend, parameters, NAME, old).handshake()
    assert caught.value.reason == "common-name-only"


def assert_nothing_flows(pair: Pair) -> None:
    """Check that the stream has failed permanently, and that data from the server is not returned."""
    pair.carry()
    pair._serve()
    if pair._server_done:
        assert pair.server.version() == "TLSv1.2"  # where the client's Finished comes first
        pair.server_write(b"welcome")
    for _ in range(2):
        with pytest.raises(CertificateError):
            pair.client.do_handshake()
        with pytest.raises(CertificateError):
            pair.client.write(b"secret")
        with pytest.raises(CertificateError):
            pair.client.read_into(memoryview(bytearray(10)))
    pair.client.close_notify()
    with contextlib.suppress(ssl.SSLError):  # the alert
        assert pair.server_read() == b""


@pytest.mark.parametrize("hostname", [".example.com", "a..b", "x" * 64, "a." * 140 + "com"])
def test_invalid_host_name_is_refused_before_data_is_sent(
    backend: str, hostname: str, parameters: TlsParameters
) -> None:
    with pytest.raises(ConfigError, match="is not a host name: the name or one of its labels is empty or too long"):
        TlsConnection(get_backend(backend), parameters, hostname)


def test_full_verification_without_host_name_is_refused(
    backend: str, parameters: TlsParameters, root_path: object, certificate: ServerCertificate
) -> None:
    """The lower levels of verification do not need a name."""
    with pytest.raises(ConfigError, match="cannot be verified without a host name"):
        TlsConnection(get_backend(backend), parameters, None)
    for level in (TlsVerify.CA, TlsVerify.NONE):
        lower = TlsParameters(verify=level, root_cert_path=str(root_path), default_roots=False)
        assert Pair(backend, lower, None, certificate).handshake().offer.server_name is None


@pytest.mark.parametrize(
    ("offered", "accepted", "selected"),
    [
        (("postgresql",), ("postgresql",), "postgresql"),
        (("postgresql",), (), None),
        ((), ("postgresql",), None),
        (("other", "postgresql"), ("postgresql", "other"), "postgresql"),
    ],
)
def test_protocols_are_offered_and_the_selected_one_is_reported(
    *,
    backend: str,
    offered: tuple[str, ...],
    accepted: tuple[str, ...],
    selected: str | None,
    root_path: object,
    certificate: ServerCertificate,
) -> None:
    parameters = TlsParameters(root_cert_path=str(root_path), default_roots=False, alpn=offered)
    pair = Pair(backend, parameters, NAME, certificate, alpn_protocols=accepted).handshake()
    assert pair.client.facts.alpn == selected


@pytest.mark.parametrize(
    ("limits", "server", "outcome"),
    [
        ({"max_version": TlsVersion.TLSV1_2}, {}, "TLSv1.2"),
        ({"min_version": TlsVersion.TLSV1_3}, {}, "TLSv1.3"),
        ({"min_version": TlsVersion.TLSV1_3}, only("TLSv1.2"), None),
        ({"max_version": TlsVersion.TLSV1_2}, only("TLSv1.3"), None),
    ],
)
def test_only_versions_within_the_limits_are_negotiated(
    *,
    backend: str,
    limits: dict[str, TlsVersion],
    server: dict[str, object],
    outcome: str | None,
    root_path: object,
    certificate: ServerCertificate,
) -> None:
    parameters = TlsParameters(root_cert_path=str(root_path), default_roots=False, **limits)
    pair = Pair(backend, parameters, NAME, certificate, **server)
    if outcome is not None:
        assert pair.handshake().client.facts.version == outcome
        return
    with pytest.raises(TlsError, match="SSL error: no TLS version in common with the server"):
        pair.handshake()


def test_unreferenced_stream_is_freed_without_garbage_collection(
    backend: str, parameters: TlsParameters, certificate: ServerCertificate
) -> None:
    pair = Pair(backend, parameters, NAME, certificate).handshake()
    gc.collect()
    gc.disable()
    try:
        stream = weakref.ref(pair.client)
        del pair.client
        assert stream() is None
    finally:
        gc.enable()
