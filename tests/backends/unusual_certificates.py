"""Certificates that no library creates, built element by element and signed by the CA of the tests."""

from __future__ import annotations

import dataclasses

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from babar_tls.testing import CertificateAuthority, ServerCertificate
from babar_tls.x509.pem import encode

DB = b"db.example.com"
DNS, IP, OTHER_NAME, X400_ADDRESS, DIRECTORY_NAME, EDI_PARTY_NAME, URI, MAIL, REGISTERED_ID = (
    0x82,
    0x87,
    0xA0,
    0xA3,
    0xA4,
    0xA5,
    0x86,
    0x81,
    0x88,
)


def element(tag: int, *contents: bytes) -> bytes:
    """Return one DER element."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def oid(content: str) -> bytes:
    """Return an object identifier of this content, hexadecimal."""
    return element(0x06, bytes.fromhex(content))


def extension(identifier: str, value: bytes, *, critical: bool = False) -> bytes:
    """Return an Extension (RFC 5280 §4.1)."""
    return element(0x30, oid(identifier), b"\x01\x01\xff" if critical else b"", element(0x04, value))


def alternative_names(*names: bytes) -> bytes:
    """Return a subjectAltName extension with these GeneralNames."""
    return extension("551d11", element(0x30, *names))


def dns(name: bytes = DB) -> bytes:
    """Return a dNSName."""
    return element(DNS, name)


_ECDSA_SHA256 = element(0x30, oid("2a8648ce3d040302"))
_VALIDITY = element(0x30, element(0x17, b"250101000000Z"), element(0x17, b"450101000000Z"))


def issue(
    authority: CertificateAuthority,
    *extensions: bytes,
    serial_number: bytes = b"\x01",
    common_name: bytes | None = None,
    version: int | None = 3,
    public_key: bytes | None = None,
    validity: bytes = _VALIDITY,
) -> ServerCertificate:
    """Issue a certificate with only these extensions. `version` None omits the version (X.509 version 1)."""
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    kind, text = ("550403", common_name) if common_name is not None else ("55040a", b"babar-tls testing")
    subject = element(0x30, element(0x31, element(0x30, oid(kind), element(0x0C, text))))
    tbs = element(
        0x30,
        element(0xA0, element(0x02, bytes([version - 1]))) if version is not None else b"",
        element(0x02, serial_number),
        _ECDSA_SHA256,
        authority._certificate.subject.public_bytes(),
        validity,
        subject,
        public_key or spki,
        element(0xA3, element(0x30, *extensions)) if extensions else b"",
    )
    assert isinstance(authority._key, ec.EllipticCurvePrivateKey)
    signature = authority._key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    der = element(0x30, tbs, _ECDSA_SHA256, element(0x03, b"\0", signature))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return ServerCertificate(encode("CERTIFICATE", der), private, der, authority.root_pem)


_RSASSA_PSS = element(0x30, oid("2a864886f70d01010a"))


def issue_for_pss_key(authority: CertificateAuthority, *extensions: bytes) -> ServerCertificate:
    """Issue a certificate for a key that may only sign with RSASSA-PSS (RFC 4055 §1.2)."""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    info = element(0x30, _RSASSA_PSS, element(0x03, b"\0", public))
    pkcs8 = element(0x30, element(0x02, b"\0"), _RSASSA_PSS, element(0x04, private))
    issued = issue(authority, *extensions, public_key=info)
    return dataclasses.replace(issued, private_key_pem=encode("PRIVATE KEY", pkcs8))
