"""The facts that a backend reports are those of the server."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from babar_tls import ChannelBindingUnsupported, TlsVersion
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.protocol.channel_binding import channel_binding_data
from babar_tls.tls.connection import TlsConnection

from .pairs import TLS_VERSIONS, Pair, only

if TYPE_CHECKING:
    from babar_tls.testing import CertificateAuthority

NAME = "db.example.com"
LABEL = b"EXPORTER-Channel-Binding"


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_version_cipher_and_protocol_are_those_of_the_server(
    backend: str, version: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    pair = Pair(backend, parameters, NAME, authority.issue(NAME), **only(version)).handshake()
    cipher = pair.server.cipher()
    assert cipher is not None
    assert (pair.client.facts.version, pair.client.facts.cipher) == (version, cipher[0])
    assert pair.client.facts.alpn == pair.server.selected_alpn_protocol() == "postgresql"


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_key_exchange_group_is_reported(
    backend: str, version: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    pair = Pair(backend, parameters, NAME, authority.issue(NAME), **only(version)).handshake()
    assert pair.client.facts.group
    assert "25519" in pair.client.facts.group or "256" in pair.client.facts.group


def test_capabilities_of_every_backend_include_the_required_ones(backend: str) -> None:
    capabilities = get_backend(backend).capabilities
    assert list(capabilities.tls_versions) == [TlsVersion.TLSV1_2, TlsVersion.TLSV1_3]
    assert "tls-server-end-point" in capabilities.channel_bindings
    assert ("tls-exporter" in capabilities.channel_bindings) is (backend == "openssl")
    assert ("tls-unique" in capabilities.channel_bindings) is (backend != "rustls")
    assert capabilities.version.startswith("rustls 0." if backend == "rustls" else "OpenSSL ")
    assert capabilities.key_log
    for lacking in (
        capabilities.common_names,
        capabilities.crls,
        capabilities.reports_certificate_request,
        capabilities.unverified_proven,
    ):
        assert lacking is (backend != "rustls")
    assert capabilities.client_keys == ("PEM",)
    assert capabilities.os_roots is (backend == "stdlib" and find_spec("truststore") is not None)


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_certificates_are_reported_as_they_were_sent(
    backend: str, version: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    intermediate = authority.intermediate()
    certificate = intermediate.issue(NAME)
    pair = Pair(backend, parameters, NAME, certificate, **only(version)).handshake()
    assert pair.client.facts.peer_certificate == certificate.der
    chain = pair.client.facts.peer_chain
    assert chain[0] == certificate.der
    assert len(chain) == 2
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    assert x509.load_der_x509_certificate(chain[1]).public_bytes(Encoding.PEM) == intermediate.certificate_pem


@pytest.mark.parametrize("key", ["rsa2048", "p256", "p384", "ed25519"])
def test_certificate_of_every_key_type_is_verified_and_reported(
    backend: str, key: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    certificate = authority.issue(NAME, key=key)
    assert Pair(backend, parameters, NAME, certificate).handshake().client.facts.peer_certificate == certificate.der


def test_tls_unique_is_that_of_the_server(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """On TLS 1.2 it is the first Finished message (RFC 5929 §3), different for each connection.

    rustls does not expose it.
    """
    if backend == "rustls":
        pair = Pair(backend, parameters, NAME, authority.issue(NAME), binding_type="tls-unique", **only("TLSv1.2"))
        with pytest.raises(ChannelBindingUnsupported, match="does not expose Finished messages"):
            channel_binding_data("tls-unique", pair.handshake().client.facts)
        return
    seen = set()
    for _ in range(2):
        pair = Pair(backend, parameters, NAME, authority.issue(NAME), binding_type="tls-unique", **only("TLSv1.2"))
        pair.handshake()
        data = pair.client._stream.first_finished_message()
        assert data == pair.server.get_channel_binding("tls-unique")
        assert data == channel_binding_data("tls-unique", pair.client.facts).data
        seen.add(data)
    assert len(seen) == 2


def test_tls_unique_is_not_supported_with_tls_13(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """Even if the library returns data (RFC 9266 §3)."""
    pair = Pair(backend, parameters, NAME, authority.issue(NAME), binding_type="tls-unique", **only("TLSv1.3"))
    with pytest.raises(ChannelBindingUnsupported, match="tls-unique is not defined"):
        channel_binding_data("tls-unique", pair.handshake().client.facts)


def test_backend_without_exporter_reports_that(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    if "tls-exporter" in get_backend(backend).capabilities.channel_bindings:
        pytest.skip("this backend has an exporter")
    pair = Pair(backend, parameters, NAME, authority.issue(NAME), binding_type="tls-exporter").handshake()
    with pytest.raises(ChannelBindingUnsupported, match="does not export keying material"):
        pair.client._stream.export_keying_material(LABEL, 32)
    with pytest.raises(ChannelBindingUnsupported, match="does not export keying material"):
        channel_binding_data("tls-exporter", pair.client.facts)


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_exported_keying_material_is_that_of_the_server(
    version: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """pyOpenSSL, with the label and an empty context of RFC 9266 §2."""
    SSL = pytest.importorskip("OpenSSL.SSL")  # noqa: N806 - the module's name
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    certificate = authority.issue(NAME)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(x509.load_der_x509_certificate(certificate.der))
    context.use_privatekey(load_pem_private_key(certificate.private_key_pem, None))
    if version == "TLSv1.2":
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    server = SSL.Connection(context, None)
    server.set_accept_state()
    client = TlsConnection(get_backend("openssl"), dataclasses.replace(parameters, alpn=()), NAME, "tls-exporter")
    done = False
    for _ in range(4):
        done = done or client.do_handshake()
        flight = client.data_to_send()
        if flight:
            server.bio_write(flight)
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        try:
            client.receive_data(server.bio_read(1 << 16))
        except SSL.WantReadError:
            pass
    assert done
    assert client.facts.version == version
    assert str(client.facts.binding_data) not in repr(client.facts)
    for length in (1, 32, 100):
        assert client._stream.export_keying_material(LABEL, length) == server.export_keying_material(LABEL, length, b"")
    if version == "TLSv1.3":
        assert channel_binding_data("tls-exporter", client.facts).data == server.export_keying_material(LABEL, 32, b"")
    else:
        with pytest.raises(ChannelBindingUnsupported, match=r"requires TLS 1\.3"):
            channel_binding_data("tls-exporter", client.facts)
