"""Other contents of a certificate do not matter if the TLS library accepts it."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import CertificateError
from babar_tls.x509.hostname import name_fault

from .pairs import TLS_VERSIONS, Pair, only
from .unusual_certificates import (
    DB,
    DIRECTORY_NAME,
    EDI_PARTY_NAME,
    IP,
    MAIL,
    OTHER_NAME,
    REGISTERED_ID,
    URI,
    X400_ADDRESS,
    alternative_names,
    dns,
    element,
    extension,
    issue,
    oid,
)

if TYPE_CHECKING:
    from babar_tls.backends import TlsParameters
    from babar_tls.testing import CertificateAuthority

HOST = DB.decode()
UNKNOWN = extension("2b06010401867f01", b"\x05\x00")

#: Names in addition to the name of the host.
NEIGHBOURS = {
    "an iPAddress that is text": element(IP, b"127.0.0.1"),
    "an iPAddress of five octets": element(IP, b"12345"),
    "an iPAddress with a mask": element(IP, bytes(8)),
    "an empty iPAddress": element(IP),
    "a dNSName in Latin-1": dns(b"b\xfccher.example"),
    "a dNSName in UTF-8": dns("bücher.example".encode()),
    "an empty dNSName": dns(b""),
    "a dNSName with spaces and line feeds": dns(b" a\n"),
    "a dNSName that is an address": dns(b"127.0.0.1"),
    "asterisks": dns(b"*") + dns(b"**.x*") + dns(b"*."),
    "an ediPartyName": element(EDI_PARTY_NAME, element(0xA1, element(0x0C, b"x"))),
    "an x400Address": element(X400_ADDRESS, element(0x61, element(0x13, b"US"))),
    "an empty x400Address": element(X400_ADDRESS, element(0x30)),
    "an empty directoryName": element(DIRECTORY_NAME, element(0x30)),
    "an otherName": element(OTHER_NAME, oid("2b0601"), element(0xA0, element(0x0C, b"x"))),
    "an otherName with a tag of two bytes": element(OTHER_NAME, oid("2b0601"), element(0xA0, b"\x1f\x81\x01\x00")),
    "a registeredID": element(REGISTERED_ID, b"\x2a\x03"),
    "a URI in Latin-1": element(URI, b"http://\xff"),
    "a mail address in Latin-1": element(MAIL, b"\xff@"),
}

#: Contents that OpenSSL accepts and RFC 5280 forbids.
BER = {
    "a length of two bytes": b"\x82\x81" + bytes([len(DB)]) + DB,
    "a constructed dNSName": element(0xA2, element(0x16, DB[:3]), element(0x16, DB[3:])),
    "an otherName of indefinite length": b"\xa0\x80" + oid("2b0601") + element(0xA0, b"\x05\0") + b"\0\0" + dns(),
}


def names_of(value: bytes) -> bytes:
    return extension("551d11", value)


#: The same in the value of the extension.
BER_VALUES = {
    "a sequence with a length of two bytes": b"\x30\x81" + bytes([len(dns())]) + dns(),
    "a sequence of indefinite length": b"\x30\x80" + dns() + b"\0\0",
    "bytes behind the sequence": element(0x30, dns()) + b"\x05\0",
}


def check(backend: str, parameters: TlsParameters, certificate: Any) -> None:
    """Connect, by either set of rules, with warnings as errors (``python -W error``)."""
    for common_name in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Pair(backend, dataclasses.replace(parameters, common_name=common_name), HOST, certificate).handshake()


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_unusual_other_name_does_not_prevent_a_match(
    backend: str, neighbour: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    name = NEIGHBOURS[neighbour]
    for names in ((name, dns()), (dns(), name)):
        check(backend, parameters, issue(authority, alternative_names(*names)))


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_unusual_other_name_does_not_match(
    backend: str, neighbour: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    certificate = issue(authority, alternative_names(NEIGHBOURS[neighbour]))
    for host in (HOST, "127.0.0.2"):
        with pytest.raises(CertificateError) as caught:
            Pair(backend, parameters, host, certificate).handshake()
        assert caught.value.reason == "hostname-mismatch"
        assert "does not match host name" in caught.value.message


@pytest.mark.parametrize(
    ("extensions", "serial_number"),
    [
        ([UNKNOWN, UNKNOWN], b"\x01"),
        ([], b"\x00"),
        ([], b"\xff"),
        ([], b"\x01" * 30),
    ],
    ids=["an extension twice", "serial number 0", "negative serial number", "long serial number"],
)
def test_what_openssl_accepts_is_not_rejected_by_another_parser(
    backend: str,
    extensions: list[bytes],
    serial_number: bytes,
    parameters: TlsParameters,
    authority: CertificateAuthority,
) -> None:
    certificate = issue(authority, *extensions, alternative_names(dns()), serial_number=serial_number)
    check(backend, parameters, certificate)


@pytest.mark.parametrize("form", [*BER, *BER_VALUES])
def test_names_in_ber_are_read(
    backend: str, form: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    if backend == "rustls" and form in BER_VALUES:
        pytest.skip("rustls parses extensions as DER")
    names = alternative_names(BER[form]) if form in BER else names_of(BER_VALUES[form])
    check(backend, parameters, issue(authority, names))


def test_malformed_time_is_reported(backend: str, parameters: TlsParameters, authority: CertificateAuthority) -> None:
    """Every backend with OpenSSL has OpenSSL's text."""
    validity = element(0x30, element(0x17, b"251301000000Z"), element(0x17, b"451301000000Z"))
    certificate = issue(authority, alternative_names(dns()), validity=validity)
    with pytest.raises(CertificateError) as caught:
        Pair(backend, parameters, HOST, certificate).handshake()
    assert caught.value.reason == "invalid"
    assert ("is damaged" if backend == "rustls" else "format error in certificate's notBefore") in caught.value.message


#: An alternative name in addition to the common name, with tags of several bytes, which OpenSSL accepts.
LONG_TAGS = {
    "dNSName": names_of(element(0x30, b"\x9f\x02\x04evil")),
    "dNSName, leading zero": names_of(element(0x30, b"\x9f\x80\x02\x04evil")),
    "constructed dNSName": names_of(element(0x30, b"\xbf\x02\x06" + element(0x16, b"evil"))),
    "sequence of names": names_of(b"\x3f\x10\x06" + dns(b"evil")),
}


@pytest.mark.parametrize("form", LONG_TAGS)
def test_alternative_name_with_a_long_tag_excludes_the_common_name(form: str, authority: CertificateAuthority) -> None:
    """OpenSSL applies a CA's name constraints to this name and not to the common name."""
    certificate = issue(authority, LONG_TAGS[form], common_name=DB)
    fault = name_fault(certificate.der, HOST)
    assert fault is not None
    assert fault.reason == "hostname-mismatch"
    assert name_fault(certificate.der, "evil") is None


def test_two_subject_alt_name_extensions_are_refused(authority: CertificateAuthority) -> None:
    """OpenSSL rejects such a certificate. Programs would not agree about which extension to use."""
    certificate = issue(authority, alternative_names(dns()), alternative_names(dns()))
    fault = name_fault(certificate.der, HOST)
    assert fault is not None
    assert fault.reason == "invalid"


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_server_of_another_name_receives_an_alert_and_no_client_certificate(  # noqa: PLR0917 - fixtures
    backend: str,
    version: str,
    parameters: TlsParameters,
    authority: CertificateAuthority,
    clients: CertificateAuthority,
    client: Any,
) -> None:
    from babar_tls.tls.parameters import ClientCertificate

    own = ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)
    pair = Pair(
        backend,
        dataclasses.replace(parameters, client_certificate=own),
        HOST,
        authority.issue("other.example.com"),
        client_ca_pem=clients.certificate_pem,
        **only(version),
    )
    with pytest.raises(CertificateError, match="does not match host name"):
        pair.handshake()
    assert not pair._server_done
    assert pair.server_error is not None
    assert "ALERT" in (pair.server_error.reason or "")
    assert client.der not in pair.sent
