"""The end-point hash, compared with that of PostgreSQL, which hashes its own certificate."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import CertificateError, ChannelBindingUnsupported, ServerError, available_backends
from babar_tls.backends import get_backend
from babar_tls.testing import CertificateAuthority, PostgresServer
from babar_tls.testing._der import assemble_certificate, replace_signature_algorithm
from babar_tls.x509.pem import encode

from .drivers import STYLES, connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from babar_tls.testing import ServerCertificate

#: Key of the authority, how it signs, and the hash that binds.
SIGNATURES = [
    ("rsa2048", {"hash": "md5"}, "sha256"),
    ("rsa2048", {"hash": "sha1"}, "sha256"),
    ("rsa2048", {"hash": "sha224"}, "sha224"),
    ("rsa2048", {"hash": "sha256"}, "sha256"),
    ("rsa2048", {"hash": "sha384"}, "sha384"),
    ("rsa2048", {"hash": "sha512"}, "sha512"),
    ("rsa2048", {"hash": "sha3-256"}, "sha3_256"),
    ("rsa2048", {"hash": "sha256", "padding": "pss"}, "sha256"),
    ("rsa2048", {"hash": "sha384", "padding": "pss"}, "sha384"),
    ("rsa2048", {"hash": "sha512", "padding": "pss"}, "sha512"),
    ("rsa2048", {"hash": "sha1", "padding": "pss"}, "sha256"),
    ("p256", {"hash": "sha1"}, "sha256"),
    ("p256", {"hash": "sha224"}, "sha224"),
    ("p256", {"hash": "sha256"}, "sha256"),
    ("p256", {"hash": "sha384"}, "sha384"),
    ("p384", {"hash": "sha512"}, "sha512"),
    ("ed25519", {}, None),
]

#: MD5 and SHA-1 are below OpenSSL's default security level on either side.
OPENSSL_CONF = b"""
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = lax
[lax]
CipherString = DEFAULT@SECLEVEL=0
"""


@pytest.fixture(scope="module")
def lax_server() -> Iterator[PostgresServer]:
    """Start a server that loads certificates with weak signatures."""
    with PostgresServer(files={"openssl.cnf": OPENSSL_CONF}, environment={"OPENSSL_CONF": "openssl.cnf"}) as server:
        yield server


#: The hashes that rustls supports. With others it does not connect.
VERIFIED_BY_RUSTLS = {"sha256", "sha384", "sha512"}


@pytest.mark.parametrize(("key", "options", "expected"), SIGNATURES, ids=str)
def test_end_point_hash_is_that_of_the_server(
    lax_server: PostgresServer, key: str, options: dict[str, Any], expected: str | None, tmp_path: Path
) -> None:
    """Without a hash function in the signature algorithm, the login is unbound with a warning.

    A backend that does not check an unverified server's key binds only to verified servers.
    """
    authority = CertificateAuthority(key=key)
    certificate = authority.issue("localhost", "127.0.0.1", key="p256", **options)
    lax_server.set_certificate(certificate)
    root = tmp_path / "root.crt"
    authority.write(root)
    for backend in available_backends():
        proven = get_backend(backend).capabilities.unverified_proven
        for style in STYLES:
            config = lax_server.config(
                tls_backend=backend,
                tls_verify="none" if proven else "ca",
                tls_root_cert_path=None if proven else str(root),
                tls_default_roots=proven,
                channel_binding="require",
            )
            if not proven:
                unverified = config.replace(tls_verify="none")
                with pytest.raises(ChannelBindingUnsupported, match="did not verify it"), connected(unverified, style):
                    pass
            if not proven and options.get("hash", "sha256") not in VERIFIED_BY_RUSTLS:
                with pytest.raises(CertificateError, match="certificate verify failed"), connected(config, style):
                    pass
                continue
            if expected is None:
                with pytest.raises(ChannelBindingUnsupported, match="Ed25519"), connected(config, style):
                    pass
                with connected(config.replace(channel_binding="prefer"), style) as session:
                    assert (session.security.gs2_flag, session.security.channel_bound) == ("n", False)
                continue
            with connected(config, style) as session:
                assert session.security.channel_binding_hash == expected
                assert session.security.channel_bound
                assert session.security.peer_certificate == certificate.der


#: Signatures for which OpenSSL has no hash, as AlgorithmIdentifiers, with the key that makes them.
UNKNOWN_TO_OPENSSL = {
    "RSA and SHA-512/256": ("rsa2048", "300d06092a864886f70d0101100500"),
    "RSA and SHA-512/224": ("rsa2048", "300d06092a864886f70d01010f0500"),
    "DSA and SHA-384": ("p256", "300b0609608648016503040303"),
    "DSA and SHA-512": ("p256", "300b0609608648016503040304"),
    "DSA and SHA-3 (sha3_256)": ("p256", "300b0609608648016503040306"),
}


def renamed(certificate: ServerCertificate, algorithm: bytes) -> ServerCertificate:
    """Return the certificate as if it was signed with another algorithm, which its signature does not verify with."""
    x509 = pytest.importorskip("cryptography.x509")
    old = x509.load_der_x509_certificate(certificate.der)
    der = assemble_certificate(
        replace_signature_algorithm(old.tbs_certificate_bytes, algorithm), algorithm, old.signature
    )
    return dataclasses.replace(certificate, der=der, certificate_pem=encode("CERTIFICATE", der))


@pytest.mark.parametrize("signature", UNKNOWN_TO_OPENSSL)
def test_hash_unknown_to_the_server_is_not_bound(lax_server: PostgresServer, signature: str) -> None:
    """The server would refuse the client: "could not determine server certificate signature algorithm".

    With OpenSSL's default security level the server does not even load such a certificate.
    """
    key, algorithm = UNKNOWN_TO_OPENSSL[signature]
    issued = CertificateAuthority(key=key).issue("localhost", "127.0.0.1")
    lax_server.set_certificate(renamed(issued, bytes.fromhex(algorithm)))
    config = lax_server.config(tls_verify="none", tls_root_cert_path=None, tls_default_roots=True)
    with connected(config, "blocking") as session:
        assert (session.security.gs2_flag, session.security.channel_bound) == ("n", False)
    required = config.replace(channel_binding="require")
    with pytest.raises(ChannelBindingUnsupported, match=re.escape(signature)), connected(required, "blocking"):
        pass


def test_ecdsa_with_sha3_is_bound(lax_server: PostgresServer) -> None:
    """OpenSSL 3.5 supports this signature; with OpenSSL 3.0 a server does not load such a certificate."""
    issued = CertificateAuthority("p256").issue("localhost", "127.0.0.1", hash="sha3-256")
    lax_server.set_certificate(issued)
    config = lax_server.config(tls_verify="none", tls_root_cert_path=None, tls_default_roots=True)
    try:
        with connected(config.replace(channel_binding="require"), "blocking") as session:
            assert session.security.channel_binding_hash == "sha3_256"
    except ServerError as exc:
        if "could not determine server certificate signature algorithm" not in exc.message:
            raise
        pytest.skip("the server's OpenSSL does not support SHA-3")
