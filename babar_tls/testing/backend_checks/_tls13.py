"""A TLS 1.3 server in Python (RFC 8446), for behaviour that a library's server does not have.

It can sign with a wrong key, update keys on request and send any alert, and it exposes the exporter's secret. It is
only for checks: it has one cipher suite (TLS_AES_128_GCM_SHA256), two groups and no resumption.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from babar_tls.testing.backend_checks._check import NotApplicable, Trial
from babar_tls.testing.backend_checks._hello import ClientHello, records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing.certificates import ServerCertificate
    from babar_tls.tls.connection import TlsConnection

ALERT, HANDSHAKE, DATA = 21, 22, 23
_SUITE = 0x1301
_X25519, _P256, _ECDSA_P256_SHA256 = 29, 23, 0x0403
_EMPTY = hashlib.sha256(b"").digest()


def _expand(secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """Return the output of HKDF-Expand-Label (§7.1)."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + bytes([len(context)]) + context
    return HKDFExpand(SHA256(), length, info).derive(secret)


class _Direction:
    """The keys and the sequence number of one direction (§5.3, §7.3)."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._aead = AESGCM(_expand(secret, b"key", b"", 16))
        self._iv = int.from_bytes(_expand(secret, b"iv", b"", 12), "big")
        self._sequence = 0

    def updated(self) -> _Direction:
        """Return the next generation of keys (§7.2)."""
        return _Direction(_expand(self.secret, b"traffic upd", b"", 32))

    def _nonce(self) -> bytes:
        nonce = (self._iv ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return nonce

    def seal(self, kind: int, content: bytes) -> bytes:
        head = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2, "big")
        return head + self._aead.encrypt(self._nonce(), content + bytes([kind]), head)

    def open(self, body: bytes) -> tuple[int, bytes]:
        inner = self._aead.decrypt(self._nonce(), body, b"\x17\x03\x03" + len(body).to_bytes(2, "big")).rstrip(b"\0")
        return inner[-1], inner[:-1]


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def _vector(size: int, body: bytes) -> bytes:
    return len(body).to_bytes(size, "big") + body


class Tls13Server:
    """The server of one connection.

    Args:
        certificate: The certificate that it presents; its key must be ``p256``.
        prover: The certificate whose key signs. Default: `certificate`.
    """

    def __init__(self, certificate: ServerCertificate, *, prover: ServerCertificate | None = None) -> None:
        self._der = certificate.der
        key = serialization.load_pem_private_key((prover or certificate).private_key_pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("this server signs with P-256")
        self._key = key
        self._transcript = b""
        self._incoming = b""
        self.exporter_secret = b""

    def answer(self, sent: bytes) -> bytes:
        """Return the whole flight that answers a ClientHello.

        Raises:
            NotApplicable: The client does not offer the version, cipher suite or groups of this server.
        """
        hello = ClientHello.parse(sent)
        if hello is None:
            raise AssertionError("the first flight does not hold a whole ClientHello")
        if "TLSv1.3" not in hello.offer.versions or _SUITE not in hello.offer.ciphers:
            raise NotApplicable("the backend does not offer TLS 1.3 with TLS_AES_128_GCM_SHA256")
        group, share, shared = self._agree(hello)
        extensions = b"\0\x2b\0\2\3\4" + b"\0\x33" + _vector(2, group.to_bytes(2, "big") + _vector(2, share))
        body = b"\3\3" + os.urandom(32) + _vector(1, hello.session_id) + _SUITE.to_bytes(2, "big") + b"\0"
        server_hello = _message(2, body + _vector(2, extensions))
        self._transcript = hello.message + server_hello
        early = hmac.digest(b"\0" * 32, b"\0" * 32, "sha256")
        handshake = hmac.digest(_expand(early, b"derived", _EMPTY, 32), shared, "sha256")
        self._client, self._server = self._directions(handshake, b"hs")
        flight = b"\x16\3\3" + _vector(2, server_hello)
        if hello.session_id:
            flight += b"\x14\3\3\0\1\1"  # for middleboxes (appendix D.4)
        protocol = b"".join(_vector(1, name.encode("ascii")) for name in hello.offer.alpn[:1])
        alpn = b"\0\x10" + _vector(2, _vector(2, protocol)) if protocol else b""
        flight += self._add(_message(8, _vector(2, alpn)))
        flight += self._add(_message(11, b"\0" + _vector(3, _vector(3, self._der) + b"\0\0")))
        flight += self._add(_message(15, _ECDSA_P256_SHA256.to_bytes(2, "big") + _vector(2, self._proof())))
        flight += self._add(_message(20, self._finished(self._server)))
        master = hmac.digest(_expand(handshake, b"derived", _EMPTY, 32), b"\0" * 32, "sha256")
        self._expected = self._finished(self._client)
        self.exporter_secret = _expand(master, b"exp master", self._hash(), 32)
        self._application = self._directions(master, b"ap")
        self._server = self._application[1]
        return flight

    def _add(self, message: bytes) -> bytes:
        self._transcript += message
        return self._server.seal(HANDSHAKE, message)

    def accept(self, sent: bytes) -> None:
        """Process the client's last flight.

        Raises:
            AssertionError: Its Finished message is missing or wrong.
        """
        for kind, content in self.receive(sent):
            if kind == HANDSHAKE and content[:1] == b"\x14":
                if content[4:] != self._expected:
                    raise AssertionError("the client's Finished message is wrong")
                self._client = self._application[0]
                return
        raise AssertionError("the client has not sent a Finished message")

    def receive(self, sent: bytes) -> Iterator[tuple[int, bytes]]:
        """Decrypt what the client has sent; yield the content type and the content of each record."""
        for kind, body in records(sent):
            if kind == DATA:
                opened = self._client.open(body)
                yield opened
                if opened[0] == HANDSHAKE and opened[1][:1] == b"\x18":
                    self._client = self._client.updated()
            elif kind != 20:
                yield kind, body

    def seal(self, kind: int, content: bytes) -> bytes:
        """Return a record for the client."""
        return self._server.seal(kind, content)

    def update_keys(self, *, requested: bool) -> bytes:
        """Return a KeyUpdate (§4.6.3), and use the new keys from then on."""
        record = self.seal(HANDSHAKE, _message(24, bytes([requested])))
        self._server = self._server.updated()
        return record

    def export(self, label: bytes, length: int) -> bytes:
        """Return exported keying material for an empty context (§7.5)."""
        return _expand(_expand(self.exporter_secret, label, _EMPTY, 32), b"exporter", _EMPTY, length)

    def connect(self, client: TlsConnection, behind: bytes = b"") -> Tls13Server:
        """Run the handshake of a connection to its end; the data `behind` are sent together with the flight."""
        client.do_handshake()
        flight = self.answer(client.data_to_send())
        client.receive_data(flight + (self.seal(DATA, behind) if behind else b""))
        if not client.do_handshake():
            raise AssertionError("the handshake is not complete after the server's Finished message")
        self.accept(client.data_to_send())
        return self

    def _agree(self, hello: ClientHello) -> tuple[int, bytes, bytes]:
        if _X25519 in hello.shares:
            mine = x25519.X25519PrivateKey.generate()
            theirs = x25519.X25519PublicKey.from_public_bytes(hello.shares[_X25519])
            return _X25519, mine.public_key().public_bytes_raw(), mine.exchange(theirs)
        if _P256 in hello.shares:
            own = ec.generate_private_key(ec.SECP256R1())
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), hello.shares[_P256])
            form = serialization.PublicFormat.UncompressedPoint
            share = own.public_key().public_bytes(serialization.Encoding.X962, form)
            return _P256, share, own.exchange(ec.ECDH(), point)
        raise NotApplicable("the backend offers a key share of neither x25519 nor secp256r1")

    def _hash(self) -> bytes:
        return hashlib.sha256(self._transcript).digest()

    def _directions(self, secret: bytes, stage: bytes) -> tuple[_Direction, _Direction]:
        labels = (b"c " + stage + b" traffic", b"s " + stage + b" traffic")
        client, server = (_Direction(_expand(secret, label, self._hash(), 32)) for label in labels)
        return client, server

    def _proof(self) -> bytes:
        content = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + self._hash()
        return self._key.sign(content, ec.ECDSA(SHA256()))

    def _finished(self, direction: _Direction) -> bytes:
        return hmac.digest(_expand(direction.secret, b"finished", b"", 32), self._hash(), "sha256")


def connect_tls13(trial: Trial) -> tuple[TlsConnection, Tls13Server]:
    """Return a connection whose handshake is complete, and its server.

    Raises:
        NotApplicable: The backend does not have TLS 1.3.
    """
    trial.needs_version("TLSv1.3")
    connection = trial.connection()
    return connection, Tls13Server(trial.fixtures.certificate).connect(connection)
