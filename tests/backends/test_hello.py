"""ClientHello and ServerHello messages are parsed correctly. Invalid messages raise `ValueError`."""

from __future__ import annotations

import dataclasses
import ssl
from typing import TYPE_CHECKING

import pytest

from babar_tls import TlsVersion
from babar_tls.backends import TlsParameters, backend_status, get_backend
from babar_tls.tls.algorithms import canonical_group, group_name, is_post_quantum
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.hello import client_offer

from .pairs import TLS_VERSIONS, Pair, only

if TYPE_CHECKING:
    from babar_tls.testing import CertificateAuthority

NAME = "db.example.com"
CURVES = {"prime256v1": "secp256r1", "secp384r1": "secp384r1", "X25519": "x25519", "secp521r1": "secp521r1"}


def test_offer_has_the_versions_protocol_and_name_of_the_parameters(backend: str, parameters: TlsParameters) -> None:
    stream = TlsConnection(get_backend(backend), parameters, NAME)
    stream.do_handshake()
    offer = client_offer(stream.data_to_send())
    assert offer.versions == ("TLSv1.3", "TLSv1.2")
    assert (offer.alpn, offer.server_name) == (("postgresql",), NAME)
    assert {"x25519", "secp256r1"} <= set(offer.groups)
    assert set(offer.key_shares) <= set(offer.groups)
    assert 0x1301 in offer.ciphers


def test_offer_has_nothing_that_was_not_requested(backend: str, parameters: TlsParameters) -> None:
    """No name, no protocol, and only one version."""
    bare = dataclasses.replace(parameters, alpn=(), send_server_name=False, max_version=TlsVersion.TLSV1_2)
    stream = TlsConnection(get_backend(backend), bare, NAME)
    stream.do_handshake()
    offer = client_offer(stream.data_to_send())
    assert (offer.versions, offer.alpn, offer.server_name, offer.key_shares) == (("TLSv1.2",), (), None, ())


def test_backend_status_has_the_offer() -> None:
    for status in backend_status():
        if status.capabilities is not None:
            assert status.offer is not None
            assert "x25519" in status.offer.groups


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_selected_group_is_found(
    backend: str, version: str, curve: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """Also after a HelloRetryRequest."""
    stream = TlsConnection(get_backend(backend), parameters, NAME)
    stream.do_handshake()
    if CURVES[curve] not in client_offer(stream.data_to_send()).groups:
        pytest.skip(f"this backend does not offer {curve}")
    try:
        pair = Pair(backend, parameters, NAME, authority.issue(NAME), group=curve, **only(version))
    except ssl.SSLError as exc:  # before 3.11
        pytest.skip(f"this Python's server cannot be restricted to {curve}: {exc}")
    assert pair.handshake().client.facts.group == CURVES[curve]


def test_group_is_found_in_any_fragmentation(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    options = {"group": "secp384r1", "fragment": 1, **only("TLSv1.2")}
    assert (
        Pair(backend, parameters, NAME, authority.issue(NAME), **options).handshake().client.facts.group == "secp384r1"
    )


def test_rsa_key_transport_has_no_group(authority: CertificateAuthority, parameters: TlsParameters) -> None:
    """TLS 1.2 without forward secrecy."""
    suites = "AES128-GCM-SHA256"
    certificate = authority.issue(NAME, key="rsa2048")
    asked = dataclasses.replace(parameters, ciphers=(suites,))
    pair = Pair("stdlib", asked, NAME, certificate, ciphers=suites, **only("TLSv1.2")).handshake()
    assert (pair.client.facts.cipher, pair.client.facts.group) == (suites, None)


def test_each_group_has_one_name() -> None:
    """A code point without a name is a number."""
    spellings = ["prime256v1", "P-256", "secp256r1", "X25519", "x25519mlkem768"]
    assert [canonical_group(name) for name in spellings] == ["secp256r1"] * 3 + ["x25519", "X25519MLKEM768"]
    assert canonical_group("rot13") is None
    assert (group_name(29), group_name(0x11EC), group_name(0x1A2B)) == ("x25519", "X25519MLKEM768", "0x1a2b")
    assert is_post_quantum("X25519MLKEM768")
    assert not is_post_quantum("x25519")
