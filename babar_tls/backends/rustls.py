"""The backend `rustls`: rtls, which uses rustls for TLS, AWS-LC for cryptography and webpki for certificate chains.

The public interface of rtls is similar to Python's `ssl`. It does not expose close_notify and alerts after the
handshake. This backend therefore uses the private classes of rtls.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from rtls import SSLCertVerificationError, SSLError
from rtls._rustls import RustlsConfigBuilder, aws_lc_rs_version, rustls_version

from ..config.enums import TlsVersion
from ..tls.algorithms import check_tls12_suites, check_tls13_suites, openssl_name, select
from ..tls.contract import Capabilities, StreamFacts, TlsBackend, TlsStream
from ..tls.key_log import KeyLogSpool
from .rustls_errors import rejected_certificate, rejected_identity, rustls_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtls._rustls import RustlsClientConnection
    from typing_extensions import Buffer

    from ..errors import Error
    from ..tls.client_identity import Identity
    from ..tls.material import TlsMaterial
    from ..tls.parameters import TlsParameters

_CHUNK = 1 << 14  # bytes; the buffer of rustls holds a few records, and must be emptied after each chunk
_VERSIONS = {TlsVersion.TLSV1_2: 0x0303, TlsVersion.TLSV1_3: 0x0304}
_VERSION_NAMES = {number: version.value for version, number in _VERSIONS.items()}
#: rustls requires a name. For an address it sends no SNI. The connection compares names.
_NO_NAME = "0.0.0.0"  # noqa: S104 - not the address of a listener
_CERT_NONE, _CERT_REQUIRED = 0, 2
#: All suites of rustls by its names. It ignores unknown names.
_SUITES = (
    "TLS13_AES_256_GCM_SHA384",
    "TLS13_AES_128_GCM_SHA256",
    "TLS13_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)


class _Context(NamedTuple):
    builder: RustlsConfigBuilder
    is_verified: bool
    key_log_path: str | None


class RustlsBackend(TlsBackend):
    """TLS with rustls."""

    name = "rustls"

    def __init__(self) -> None:
        self.capabilities = Capabilities(
            version=f"rustls {rustls_version()} (aws-lc-rs {aws_lc_rs_version()})",
            tls_versions=tuple(_VERSIONS),
            key_log=True,
            client_keys=("PEM",),
            system_store=True,
            selects_ciphers="TLSv1.2",
        )

    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> _Context:
        """Create a context; see `TlsBackend.create_context`."""
        builder = RustlsConfigBuilder()
        chosen = select(parameters)
        builder.set_min_version(_VERSIONS[chosen.min_version])
        builder.set_max_version(_VERSIONS[chosen.max_version or TlsVersion.TLSV1_3])
        if parameters.ciphers:
            builder.set_cipher_suites(_suites(parameters, (*chosen.tls13, *chosen.tls12)))
        builder.set_alpn([name.encode() for name in parameters.alpn])
        builder.set_verify_mode(_CERT_REQUIRED if parameters.is_verified else _CERT_NONE)
        anchors = 0
        if parameters.is_verified:
            # rtls passes certificates that are not self-signed to webpki as intermediates, not as anchors.
            for anchor in material.trust_anchors("rustls", with_intermediates=True):
                with suppress(ValueError):  # webpki cannot parse it
                    builder.add_root_cert_from_der(anchor.der)
                    anchors += 1
        builder.set_check_hostname(not anchors)  # without roots rtls requires this, and accepts no chain
        identity = material.identity
        if identity is not None:
            _set_identity(builder, _decrypted(identity))
        return _Context(builder, parameters.is_verified, parameters.key_log_path)

    def create_stream(self, context: _Context, sni: str | None, check_leaf: object) -> TlsStream:
        """Begin a client connection; see `TlsBackend.create_stream`."""
        return _Stream(context, sni)


class _Stream(TlsStream):
    library_errors = (SSLError,)

    def __init__(self, context: _Context, sni: str | None) -> None:
        builder = context.builder
        self._is_verified = context.is_verified
        self._key_log: KeyLogSpool | None = None
        if context.key_log_path is not None:
            self._key_log = KeyLogSpool(context.key_log_path)
            builder = builder.clone_builder()
            builder.set_keylog_filename(self._key_log.path)
        self._connection = _connection(builder, sni)
        self._incoming, self._outgoing = bytearray(), bytearray()
        self._error: SSLError | None = None  # raised after the plaintext that precedes it

    def do_handshake(self) -> bool:
        try:
            while self._connection.is_handshaking() and self._incoming:
                self._process()
        finally:
            self._flush()
        return not self._connection.is_handshaking()

    def _process(self) -> None:
        """Pass a part of the ciphertext to rustls."""
        count = self._connection.read_tls(bytes(self._incoming[:_CHUNK]))
        del self._incoming[:count]
        self._connection.process_new_packets()

    def receive_data(self, data: Buffer) -> None:
        self._incoming += memoryview(data)

    def data_to_send(self) -> bytes:
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def read_into(self, buffer: memoryview) -> int | None:
        while not (plaintext := self._connection.read_plaintext(len(buffer))):
            if self._error is not None:
                raise self._error
            if not self._connection.wants_read():  # and no plaintext: rustls has received close_notify
                return 0
            if not self._incoming:
                return None
            try:
                self._process()
            except SSLError as exc:
                self._error = exc
            self._flush()
        buffer[: len(plaintext)] = plaintext
        return len(plaintext)

    def write(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[self._connection.write_plaintext(bytes(view[:_CHUNK])) :]
            self._flush()

    def close_notify(self) -> None:
        self._connection.send_close_notify()
        self._flush()

    def _flush(self) -> None:
        """Read the output of rustls. Its buffer is small."""
        while self._connection.wants_write():
            self._outgoing += self._connection.write_tls()

    def peer_chain(self) -> tuple[bytes, ...]:
        return tuple(self._connection.peer_certificates() or ())

    def facts(self) -> StreamFacts:
        self.close()  # the secrets have been logged
        alpn = self._connection.alpn_protocol()
        return StreamFacts(
            version=_VERSION_NAMES.get(self._connection.protocol_version() or 0, ""),
            cipher=_cipher_name(self._connection.negotiated_cipher_suite() or ""),
            alpn=alpn.decode("ascii", "replace") if alpn is not None else None,
            possession_proven=self._is_verified,  # without verification rtls ignores the server's signature
        )

    def translate(self, error: Any, *, established: bool) -> Error:
        text = str(error.args[0] if error.args else error)
        if isinstance(error, SSLCertVerificationError):
            return rejected_certificate(text)
        return rustls_error(text, established=established)

    def close(self) -> None:
        if self._key_log is not None:
            self._key_log.close()


def _connection(builder: RustlsConfigBuilder, sni: str | None) -> RustlsClientConnection:
    """Return a connection that sends this name as SNI if rustls accepts the name."""
    if sni is not None:
        with suppress(SSLError):  # rustls is stricter than DNS about names
            return builder.build_client_connection(sni)
    return builder.build_client_connection(_NO_NAME)


def _cipher_name(suite: str) -> str:
    """Return OpenSSL's name of a suite. PostgreSQL uses the same names."""
    return "TLS_" + suite.removeprefix("TLS13_") if suite.startswith("TLS13_") else openssl_name(suite)


def _suites(parameters: TlsParameters, names: Sequence[str]) -> list[str]:
    known = {_cipher_name(suite): suite for suite in _SUITES}
    check_tls12_suites(parameters, names, known, "rustls")
    tls13 = [name for name in names if name.startswith("TLS_")]
    if tls13:  # rtls adds the missing suites
        check_tls13_suites(tls13, [name for name in known if name.startswith("TLS_")], "rustls (by way of rtls)")
    return [known[name] for name in names]


def _decrypted(identity: Identity) -> Identity:
    """Return the identity with its key decrypted by `cryptography`, which supports more algorithms than rtls."""
    if identity.password is None or find_spec("cryptography") is None:
        return identity
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - optional
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an optional package

    try:
        key = serialization.load_pem_private_key(identity.key, identity.password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise identity.unusable("") from exc
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return replace(identity, key=key.private_bytes(pem, form, serialization.NoEncryption()), password=None)


def _set_identity(builder: RustlsConfigBuilder, identity: Identity) -> None:
    try:
        builder.set_client_cert_chain_pem(identity.chain, identity.key, identity.password)
        builder.build_client_connection(_NO_NAME)  # this parses the key
    except SSLError as exc:
        raise rejected_identity(str(exc.args[0] if exc.args else exc), identity) from exc
    except ValueError as exc:
        raise identity.unusable("") from exc
