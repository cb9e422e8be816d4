"""Every backend reports each alert by its name or number, and damaged records as damage."""

from __future__ import annotations

import dataclasses
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import ClientCertificateError, Closed, TlsError, TlsVerify
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.backends.openssl_errors import specific_reason
from babar_tls.tls.alerts import alert_name, alert_named_in
from babar_tls.tls.connection import TlsConnection

from .pairs import Pair, only

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import CertificateAuthority

NAME = "db.example.com"
#: The numbers that IANA has assigned, with its names.
ASSIGNED = {
    "close_notify": 0,
    "unexpected_message": 10,
    "bad_record_mac": 20,
    "record_overflow": 22,
    "handshake_failure": 40,
    "bad_certificate": 42,
    "unsupported_certificate": 43,
    "certificate_revoked": 44,
    "certificate_expired": 45,
    "certificate_unknown": 46,
    "illegal_parameter": 47,
    "unknown_ca": 48,
    "access_denied": 49,
    "decode_error": 50,
    "decrypt_error": 51,
    "protocol_version": 70,
    "insufficient_security": 71,
    "internal_error": 80,
    "inappropriate_fallback": 86,
    "user_canceled": 90,
    "no_renegotiation": 100,
    "missing_extension": 109,
    "unsupported_extension": 110,
    "unrecognized_name": 112,
    "bad_certificate_status_response": 113,
    "unknown_psk_identity": 115,
    "certificate_required": 116,
    "no_application_protocol": 120,
}
NUMBERS = {number: name for name, number in ASSIGNED.items()}


def alert(number: int, level: int = 2) -> bytes:
    return b"\x15\x03\x03\0\x02" + bytes((level, number))


def error_after(backend: str, *chunks: bytes) -> TlsError:
    """Return the error of a client that receives these chunks after its ClientHello."""
    stream = TlsConnection(get_backend(backend), TlsParameters(verify=TlsVerify.NONE), NAME)
    assert not stream.do_handshake()
    with pytest.raises(TlsError) as caught:  # noqa: PT012 - one of the chunks does it
        for chunk in chunks:
            stream.receive_data(chunk)
            stream.do_handshake()
    return caught.value


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 400 Bad Request\r\n", b"\x16\x03\x03\0\0", b"\x16\x03\x03\xff\xff", b"\x17\x03\x03"]
)
def test_server_that_does_not_use_tls_receives_an_alert(backend: str, head: bytes) -> None:
    stream = TlsConnection(get_backend(backend), TlsParameters(verify=TlsVerify.NONE), NAME)
    stream.do_handshake()
    stream.data_to_send()
    stream.receive_data(head)
    with pytest.raises(TlsError, match="the server does not speak TLS") as caught:
        stream.do_handshake()
    assert "requires TLS" not in str(caught.value)
    assert stream.data_to_send() == alert(10)
    assert stream.data_to_send() == b""


@pytest.mark.parametrize("number", range(256))
def test_each_alert_is_reported_by_its_name_or_number(backend: str, number: int) -> None:
    error = error_after(backend, alert(number))
    assert error.alert is not None
    if number in NUMBERS:
        assert error.alert == NUMBERS[number]
    elif error.alert.isdigit():
        assert error.alert == str(number)
    assert error.alert.replace("_", " ") in str(error)


@pytest.mark.parametrize("number", [120, 99])
def test_alert_is_recognized_in_any_fragmentation(backend: str, number: int) -> None:
    error = error_after(backend, *(bytes((byte,)) for byte in alert(number)))
    assert error.alert == NUMBERS.get(number, str(number))
    error = error_after(backend, alert(number) + alert(0, level=1))
    assert error.alert == NUMBERS.get(number, str(number))


def test_alert_before_the_end_of_the_stream_is_reported(backend: str) -> None:
    for number in (120, 99, 40):
        stream = TlsConnection(get_backend(backend), TlsParameters(verify=TlsVerify.NONE), NAME)
        stream.do_handshake()
        stream.receive_data(alert(number))
        stream.receive_eof()
        with pytest.raises(TlsError) as caught:
            stream.do_handshake()
        assert caught.value.alert == NUMBERS.get(number, str(number))


def test_alert_about_alpn_has_a_remedy(backend: str) -> None:
    error = error_after(backend, alert(120))
    assert "ALPN protocol 'postgresql'" in str(error)
    assert "Traefik" in str(error)


def test_alert_about_the_client_certificate_has_its_name(backend: str) -> None:
    for name in ("unknown_ca", "certificate_required", "certificate_expired"):
        error = error_after(backend, alert(ASSIGNED[name]))
        assert isinstance(error, ClientCertificateError)
        assert error.alert == name


def test_close_notify_in_the_handshake_is_not_reported_as_a_failure_alert(backend: str) -> None:
    stream = TlsConnection(get_backend(backend), TlsParameters(verify=TlsVerify.NONE), NAME)
    stream.do_handshake()
    stream.receive_data(alert(0, level=1))
    stream.receive_eof()
    with pytest.raises(TlsError, match="server closed the connection unexpectedly during the TLS handshake"):
        stream.do_handshake()


@pytest.mark.parametrize("prefix", ["SSLV3_ALERT_", "TLSV1_ALERT_", "TLSV13_ALERT_", "tlsv1 alert ", "tls alert "])
def test_reasons_of_all_openssl_versions_are_recognized(prefix: str) -> None:
    for name in ASSIGNED:
        words = name.replace("_", " ") if " " in prefix else name.upper()
        assert alert_named_in(prefix + words) == name
    assert alert_named_in("TLSV1_UNRECOGNIZED_NAME") == "unrecognized_name"
    assert alert_named_in("ssl/tls alert bad certificate") == "bad_certificate"  # OpenSSL 3.2 and later
    assert alert_named_in("TLSV1_ALERT_USER_CANCELLED") == "user_canceled"
    assert alert_named_in("TLS_INVALID_ECPOINTFORMAT_LIST") is None
    assert alert_named_in("") is None
    assert alert_name(99) == "99"


def flipped(position: int) -> Callable[[bytes], bytes]:
    return lambda record: record[:position] + bytes((record[position] ^ 0x55,)) + record[position + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "content": flipped(9),
    "tag": lambda record: record[:-1] + bytes((record[-1] ^ 1,)),
    "type": flipped(0),
    "version": flipped(1),
    "minor version": flipped(2),
    "shorter": lambda record: record[:3] + (len(record) - 6).to_bytes(2, "big") + record[5:] + bytes(40),
    "longer": lambda record: record[:3] + (len(record) - 4).to_bytes(2, "big") + record[5:] + bytes(40),
    "too long": lambda record: record[:3] + b"\xff\xff" + record[5:] + bytes(70_000),
    "tiny": lambda record: record[:3] + b"\0\1\0" + record,
    "twice": lambda record: record + record,
    "plain HTTP": lambda record: b"HTTP/1.1 400 Bad Request\r\n\r\n" + record,
    "plain PostgreSQL": lambda record: b"E\0\0\0\x20SFATAL\0C57P01\0Mgo\0\0" + record,
    "SSH": lambda record: b"SSH-2.0-OpenSSH_9.9\r\n" + record,
    "zeros": lambda _record: bytes(100),
    "SSL 2": lambda record: b"\x80\x2e\x01\x00\x02" + record,
    "plain handshake record": lambda record: b"\x16\x03\x03\0\x04\0\0\0\0" + record,
    "plain application data": lambda record: b"\x17\x03\x03\0\x05hello" + record,
    "heartbeat": lambda record: b"\x18\x03\x03\0\x03\x01\0\0" + record,
    "change cipher spec": lambda record: b"\x14\x03\x03\0\x02\x01\x01" + record,
}


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_after_the_handshake_is_reported_as_damage(
    backend: str, version: str, damage: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    pair = established(backend, version, parameters, authority)
    pair.server.write(b"some data of the server")
    pair.client.receive_data(DAMAGE[damage](pair._from_server.read()))
    buffer = bytearray(1000)
    if (backend, version, damage) == ("rustls", "TLSv1.3", "minor version"):
        assert pair.client.read_into(memoryview(buffer))  # RFC 8446 §5.1: it is to be ignored
        return
    with pytest.raises(TlsError) as caught:  # noqa: PT012 - the first record may be all right
        for _ in range(3):
            pair.client.read_into(memoryview(buffer))
        pair.client.receive_eof()
        pair.client.read_into(memoryview(buffer))
    assert "damaged or attacked" in str(caught.value)
    assert "does not speak TLS" not in str(caught.value)
    assert caught.value.alert is None


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("damage", ["content", "tag"])
def test_record_that_fails_authentication_is_reported_as_bad_mac(
    backend: str, version: str, damage: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    pair = established(backend, version, parameters, authority)
    pair.server.write(b"some data of the server")
    pair.client.receive_data(DAMAGE[damage](pair._from_server.read()))
    with pytest.raises(TlsError, match="bad record mac") as caught:
        pair.client.read_into(memoryview(bytearray(1000)))
    if backend == "stdlib" and ssl.OPENSSL_VERSION_INFO >= (3, 2):
        assert "record layer failure" in str(caught.value)  # Python's ssl has no other reason
    else:
        assert "a record failed authentication" in str(caught.value)


def test_general_reason_of_the_record_layer_is_not_preferred() -> None:
    """The errors of OpenSSL 3.2 and later have two entries, from the specific to the general."""
    specific = "decryption failed or bad record mac"
    assert specific_reason([specific, "record layer failure"]) == specific
    assert specific_reason(["record layer failure"]) == "record layer failure"
    assert specific_reason(["certificate verify failed"]) == "certificate verify failed"
    assert specific_reason([]) == ""


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("position", range(0, 400, 7))
def test_damage_in_the_handshake_is_not_reported_as_another_protocol(
    backend: str, version: str, position: int, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """The first record is TLS, so that invalid data after it is damage."""
    sent = bytearray()

    def tamper(data: bytes) -> bytes:
        start = len(sent)
        sent.extend(data)
        first = 5 + int.from_bytes(sent[3:5], "big")
        at = first + position - start
        return flipped(at)(data) if 0 <= at < len(data) else data

    verify = dataclasses.replace(parameters, verify=TlsVerify.NONE)
    certificate = authority.issue(NAME)
    pair = Pair(backend, verify, NAME, certificate, tamper=tamper, **only(version))
    text = ""
    try:
        pair.handshake()
    except Exception as error:
        text = str(error)
    assert "does not speak TLS" not in text


def established(backend: str, version: str, parameters: TlsParameters, authority: CertificateAuthority) -> Any:
    pair = Pair(backend, parameters, NAME, authority.issue(NAME), **only(version)).handshake()
    buffer = bytearray(100)
    pair.carry()
    pair.client.read_into(memoryview(buffer))  # session tickets
    return pair


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_truncation_after_the_handshake_is_closed(
    backend: str, version: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    pair = established(backend, version, parameters, authority)
    pair.server.write(b"some data of the server")
    pair.client.receive_data(pair._from_server.read()[:-3])
    pair.client.receive_eof()
    with pytest.raises(Closed, match="without ending TLS"):
        pair.client.read_into(memoryview(bytearray(100)))
