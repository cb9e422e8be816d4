"""Properties of rustls only: unproven keys of unverified servers, post-quantum groups, expiry of roots."""

from __future__ import annotations

import dataclasses
import gc
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from babar_tls import CertificateError, TlsError, TlsVerify
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.testing import CertificateAuthority, ServerCertificate
from babar_tls.tls import memory_files
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.context_cache import ContextCache
from babar_tls.tls.parameters import ClientCertificate
from babar_tls.x509.pem import encode

from .pairs import TLS_VERSIONS, Pair, only

pytest.importorskip("rtls")


from babar_tls.backends import rustls
from babar_tls.backends.rustls_errors import rejected_certificate, rustls_error

NAME = "db.example.com"
DAY = timedelta(days=1)
NOW = datetime.now(UTC)


def der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    assert len(content) < 0x80
    return bytes((tag, len(content))) + content


def impostor(victim: ServerCertificate) -> ServerCertificate:
    """Return the victim's certificate with another key, in a file with the victim's public key (RFC 5915)."""
    own = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(32, "big")
    theirs = load_pem_private_key(victim.private_key_pem, None).public_key()
    point = theirs.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    curve = der(0xA0, der(0x06, bytes.fromhex("2a8648ce3d030107")))
    key = der(0x30, der(0x02, b"\1"), der(0x04, own), curve, der(0xA1, der(0x03, b"\0" + point)))
    return dataclasses.replace(victim, private_key_pem=encode("EC PRIVATE KEY", key))


@pytest.mark.parametrize("version", TLS_VERSIONS)
@pytest.mark.parametrize("verify", TlsVerify)
def test_server_with_the_certificate_of_another_is_refused(
    backend: str, verify: TlsVerify, version: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """Without verification rustls accepts it, and reports that the key is not proven."""
    certificate = authority.issue(NAME)
    pair = Pair(backend, dataclasses.replace(parameters, verify=verify), NAME, impostor(certificate), **only(version))
    if get_backend(backend).capabilities.unverified_proven or verify is not TlsVerify.NONE:
        with pytest.raises(TlsError):
            pair.handshake()
        assert pair.client.facts is None
        return
    assert backend == "rustls"
    assert pair.handshake().client.facts.peer_certificate == certificate.der
    assert pair.client.facts.possession_proven is False


def test_post_quantum_group_is_negotiated_and_reported(
    parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    SSL = pytest.importorskip("OpenSSL.SSL")  # noqa: N806 - the module's name
    if SSL.OPENSSL_VERSION_NUMBER < 0x30500000:
        pytest.skip("this OpenSSL does not support ML-KEM")
    certificate = authority.issue(NAME)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(x509.load_der_x509_certificate(certificate.der))
    context.use_privatekey(load_pem_private_key(certificate.private_key_pem, None))
    server = SSL.Connection(context, None)
    server.set_accept_state()
    client: TlsConnection = TlsConnection(get_backend("rustls"), parameters, NAME)
    while not client.do_handshake():
        server.bio_write(client.data_to_send())
        with pytest.raises(SSL.WantReadError):
            server.do_handshake()
        client.receive_data(server.bio_read(1 << 16))
    server.bio_write(client.data_to_send())
    server.do_handshake()
    assert client.facts.group == "X25519MLKEM768"
    if hasattr(server, "get_group_name"):
        assert server.get_group_name() == "X25519MLKEM768"


def of(authority: CertificateAuthority) -> bytes:
    return authority._certificate.public_bytes(Encoding.DER)


def test_root_that_expires_after_the_context_was_built_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief, lasting = CertificateAuthority(not_after=NOW + DAY), CertificateAuthority()
    path = tmp_path / "root.crt"
    path.write_bytes(brief.root_pem + lasting.root_pem)
    parameters, cache = TlsParameters(root_cert_path=str(path), default_roots=False), ContextCache()
    clock = [NOW.timestamp()]
    monkeypatch.setattr("babar_tls.tls.bounded_cache.time", lambda: clock[0])
    monkeypatch.setattr("babar_tls.tls.material.time.time", lambda: clock[0])
    first = cache.get(get_backend("rustls"), parameters)
    assert cache.get(get_backend("rustls"), parameters) is first
    clock[0] = (NOW + 2 * DAY).timestamp()
    later = cache.get(get_backend("rustls"), parameters)
    assert later is not first
    assert later.trust is not None
    assert [root.der for root in later.trust.anchors(clock[0]).certificates] == [of(lasting)]


def test_ca_certificate_of_a_server_is_refused_with_a_remedy(
    parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """``openssl req -x509`` creates such certificates (CA:TRUE)."""
    certificate = ServerCertificate(
        authority.certificate_pem, encode_key(authority), of(authority), root_pem=authority.root_pem
    )
    with pytest.raises(CertificateError, match=r"a CA certificate \(CA:TRUE\)") as caught:
        Pair("rustls", parameters, NAME, certificate).handshake()
    assert caught.value.reason == "invalid"
    assert "CA:FALSE" in (caught.value.remedy or "")


def encode_key(authority: CertificateAuthority) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return authority._key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def test_unknown_text_of_rustls_is_part_of_the_error() -> None:
    error = rejected_certificate("invalid peer certificate: SomethingNew(7)")
    assert (error.reason, error.message) == ("invalid", "SSL error: certificate verify failed: SomethingNew(7)")
    other = rustls_error("something new", established=False)
    assert (type(other), other.message) == (TlsError, "SSL error: something new")


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
def test_rtls_decrypts_keys_without_cryptography(
    form: Any,
    parameters: TlsParameters,
    authority: CertificateAuthority,
    client: ServerCertificate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rustls, "find_spec", lambda _: None)
    key = client.private_key(form, password=b"secret")
    source = ClientCertificate(certificate=client.certificate_pem, key=key, password=b"secret")
    chosen = dataclasses.replace(parameters, client_certificate=source, alpn=("postgresql", form))
    pair = Pair("rustls", chosen, NAME, authority.issue(NAME), client_ca_pem=client.root_pem).handshake()
    assert pair.server.getpeercert(binary_form=True) == client.der
    wrong = dataclasses.replace(chosen, client_certificate=dataclasses.replace(source, password=b"wrong"))
    with pytest.raises(Exception, match="the password is wrong"):
        TlsConnection(get_backend("rustls"), wrong, NAME)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="/proc is required to count descriptors")
@pytest.mark.parametrize("memory", [True, False])
def test_temporary_key_log_is_removed(
    memory: bool,
    parameters: TlsParameters,
    authority: CertificateAuthority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    if not memory:
        monkeypatch.setattr(memory_files, "_in_memory", lambda: None)
    chosen = dataclasses.replace(parameters, key_log_path=str(tmp_path / "keys"))
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the number of names is needed
    for name in (NAME, "other.example.com"):
        pair = Pair("rustls", chosen, name, authority.issue(NAME))
        if name == NAME:
            pair.handshake()
        else:
            with pytest.raises(CertificateError):
                pair.handshake()
        pair.client.close()
    given_up = TlsConnection(get_backend("rustls"), chosen, NAME)
    given_up.do_handshake()
    given_up.close()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - only the number of names is needed
    assert list(folder.iterdir()) == []
    assert len((tmp_path / "keys").read_text().splitlines()) == 2 * 5
