"""The backend `openssl`: pyOpenSSL, which uses the OpenSSL of the package cryptography."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from ..config.enums import TlsVersion
from ..errors import ChannelBindingUnsupported, ConfigError
from ..tls.algorithms import (
    TLS13_SUITES,
    check_tls12_suites,
    check_tls13_suites,
    select,
    unknown_cipher,
    unknown_group,
)
from ..tls.contract import Capabilities, StreamFacts, TlsBackend, TlsStream
from ..tls.errors import eof_error
from ..tls.key_log import append_line
from .openssl_errors import certificate_error, specific_reason, ssl_error, unusable_certificate_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from ..errors import Error
    from ..tls.client_identity import Identity
    from ..tls.material import TlsMaterial
    from ..tls.parameters import TlsParameters

_CHUNK = 1 << 14  # bytes; pyOpenSSL allocates and clears a buffer of this size for each read
_VERSIONS = {TlsVersion.TLSV1_2: SSL.TLS1_2_VERSION, TlsVersion.TLSV1_3: SSL.TLS1_3_VERSION}
#: Since pyOpenSSL 25.2.
_SELECTS_TLS13_SUITES = hasattr(SSL.Context, "set_tls13_ciphersuites")
#: The groups to which pyOpenSSL can be restricted.
_CURVES = {
    curve.name: curve
    for curve in (
        ec.SECP256R1,
        ec.SECP384R1,
        ec.SECP521R1,
        ec.BrainpoolP256R1,
        ec.BrainpoolP384R1,
        ec.BrainpoolP512R1,
    )
}


class OpenSslBackend(TlsBackend):
    """TLS with pyOpenSSL."""

    name = "openssl"

    def __init__(self) -> None:
        self.capabilities = Capabilities(
            version=SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode().rsplit(" ", 3)[0],
            tls_versions=tuple(_VERSIONS),
            channel_bindings=("tls-server-end-point", "tls-exporter", "tls-unique"),
            common_names=True,
            crls=True,
            key_log=True,
            client_keys=("PEM",),
            reports_certificate_request=True,
            selects_groups="one",
            selects_ciphers="all" if _SELECTS_TLS13_SUITES else "TLSv1.2",
            fips=_fips(),
            unverified_proven=True,
        )

    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> SSL.Context:
        """Create a context; see `TlsBackend.create_context`."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        _choose_algorithms(context, parameters)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        if parameters.alpn:
            context.set_alpn_protos([name.encode() for name in parameters.alpn])
        context.set_verify(SSL.VERIFY_PEER if parameters.is_verified else SSL.VERIFY_NONE)
        material.load_into_openssl(partial(_load, context))
        if parameters.wants_crls:
            store = context.get_cert_store()
            if store is None:  # for mypy only: a context always has a store
                raise ConfigError("this OpenSSL does not have a store for certificate revocation lists")
            store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
        identity = material.identity
        if identity is not None:
            _use_identity(context, identity)
        if parameters.key_log_path is not None:
            context.set_keylog_callback(partial(_log_line, parameters.key_log_path))
        if parameters.watch_certificate_request:
            context.set_info_callback(_note_request)
        return context

    def create_stream(self, context: SSL.Context, sni: str | None, check_leaf: object) -> TlsStream:
        """Begin a client connection; see `TlsBackend.create_stream`."""
        return _Stream(context, sni)


class _Callbacks:
    """The results of OpenSSL's callbacks for one connection. It does not refer to the connection.

    Attributes:
        certificate_requested: The server has requested a certificate.
        interrupt: The exception that a callback raised. Exceptions cannot pass through C.
    """

    def __init__(self) -> None:
        self.certificate_requested = False
        self.interrupt: BaseException | None = None

    def raise_interrupt(self) -> None:
        """Raise the exception of a callback."""
        interrupt, self.interrupt = self.interrupt, None
        if interrupt is not None:
            raise interrupt


class _Stream(TlsStream):
    library_errors = (SSL.Error,)

    def __init__(self, context: SSL.Context, sni: str | None) -> None:
        self._callbacks = _Callbacks()
        self._connection = SSL.Connection(context, None)
        self._connection.set_app_data(self._callbacks)
        self._connection.set_connect_state()
        if sni is not None:
            self._connection.set_tlsext_host_name(sni.encode())

    def do_handshake(self) -> bool:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        finally:
            self._callbacks.raise_interrupt()
        return True

    def receive_data(self, data: Buffer) -> None:
        view = memoryview(data)
        while view:
            view = view[self._connection.bio_write(view) :]

    def data_to_send(self) -> bytes:
        chunks = []
        try:
            while True:
                chunks.append(self._connection.bio_read(_CHUNK))
        except SSL.WantReadError:
            return b"".join(chunks)

    def read_into(self, buffer: memoryview) -> int | None:
        try:
            return self._connection.recv_into(buffer)
        except SSL.WantReadError:
            return None
        except SSL.ZeroReturnError:
            return 0
        finally:
            if self._callbacks.interrupt is not None:
                self._callbacks.raise_interrupt()

    def write(self, data: Buffer) -> None:
        view = memoryview(data)
        while view:
            view = view[self._connection.send(view) :]

    def close_notify(self) -> None:
        self._connection.shutdown()

    def peer_chain(self) -> tuple[bytes, ...]:
        chain = self._connection.get_peer_cert_chain() or ()
        return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in chain)

    def facts(self) -> StreamFacts:
        return StreamFacts(
            version=self._connection.get_protocol_version_name(),
            cipher=self._connection.get_cipher_name() or "",
            alpn=self._connection.get_alpn_proto_negotiated().decode("ascii", "replace") or None,
            possession_proven=True,  # OpenSSL verifies the server's signature with every TlsVerify
            certificate_requested=self._callbacks.certificate_requested,
        )

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        return self._connection.export_keying_material(label, length, b"")

    def first_finished_message(self) -> bytes:
        data = self._connection.get_finished()
        if data is None:
            raise ChannelBindingUnsupported("OpenSSL does not expose the Finished message")
        return data

    def translate(self, error: Any, *, established: bool) -> Error:
        if isinstance(error, SSL.SysCallError | SSL.ZeroReturnError):
            return eof_error()
        reason = _reason_of(error)
        if "certificate verify failed" in reason:
            code = _fault_code(self._connection)
            return certificate_error(code, f"X509_verify_cert error {code}") if code else unusable_certificate_error()
        return ssl_error(reason, established=established)


def _fips() -> bool | None:
    """Return the FIPS mode that `cryptography` reports; None for versions that do not report it."""
    try:
        from cryptography.hazmat.bindings._rust import openssl  # noqa: PLC0415 - an optional package

        return bool(openssl.is_fips_enabled())
    except (ImportError, AttributeError):
        return None


def _choose_algorithms(context: SSL.Context, parameters: TlsParameters) -> None:
    """Set the versions, cipher suites and key-exchange group."""
    chosen = select(parameters)
    context.set_min_proto_version(_VERSIONS[chosen.min_version])
    if chosen.max_version is not None:
        context.set_max_proto_version(_VERSIONS[chosen.max_version])
    if chosen.tls13:
        _set_tls13_suites(context, parameters, chosen.tls13)
    if chosen.tls12:
        _set_tls12_suites(context, parameters, chosen.tls12)
    for group in chosen.groups:
        if group not in _CURVES:
            raise unknown_group(parameters.groups[0], "openssl")
        context.set_tmp_ecdh(_CURVES[group]())


def _set_tls13_suites(context: SSL.Context, parameters: TlsParameters, names: Sequence[str]) -> None:
    if _SELECTS_TLS13_SUITES:
        try:
            context.set_tls13_ciphersuites(":".join(names).encode())
        except SSL.Error as exc:
            raise unknown_cipher(parameters, names, "openssl") from exc
        return
    offered = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None).get_cipher_list()
    check_tls13_suites(names, set(offered) & set(TLS13_SUITES), "this pyOpenSSL")


def _set_tls12_suites(context: SSL.Context, parameters: TlsParameters, names: Sequence[str]) -> None:
    trial = SSL.Context(SSL.TLS_CLIENT_METHOD)  # a context is immutable after its list was read
    try:
        for changed in (context, trial):
            changed.set_cipher_list(":".join(names).encode())
    except SSL.Error as exc:
        raise unknown_cipher(parameters, names, "openssl") from exc
    check_tls12_suites(parameters, names, SSL.Connection(trial, None).get_cipher_list(), "openssl")


def _reason_of(exc: Exception) -> str:
    """Return OpenSSL's reason, possibly empty."""
    errors = exc.args[0] if exc.args else ()
    return specific_reason([reason for _, _, reason in errors]) if isinstance(errors, list) else ""


def _load(context: SSL.Context, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except SSL.Error as exc:
        raise ValueError(_reason_of(exc)) from exc


def _use_identity(context: SSL.Context, identity: Identity) -> None:
    """Load a client certificate and its key.

    OpenSSL parses them, because cryptography rejects some certificates and converts RSASSA-PSS keys to RSA keys. Only
    an encrypted key is loaded with cryptography, because pyOpenSSL has deprecated its function for passwords.
    """
    try:
        with identity.files() as (chain, key):
            context.use_certificate_chain_file(chain)
            if identity.password is None:
                context.use_privatekey_file(key)
            else:
                decrypted = load_pem_private_key(identity.key, identity.password)
                context.use_privatekey(decrypted)  # type: ignore[arg-type]  # the union contains DH keys
        context.check_privatekey()
    except SSL.Error as exc:
        raise identity.unusable(_reason_of(exc)) from exc
    except (ValueError, TypeError, UnsupportedAlgorithm, crypto.Error) as exc:
        raise identity.unusable("") from exc


def _fault_code(connection: SSL.Connection) -> int | None:
    """Return OpenSSL's code for the fault in the server's chain. pyOpenSSL has no public method for this."""
    try:
        code: int = SSL._lib.SSL_get_verify_result(connection._ssl)  # type: ignore[attr-defined]  # private attributes
    except AttributeError:
        return None
    return code


def _log_line(path: str, connection: SSL.Connection, line: bytes) -> None:
    try:
        append_line(path, line)
    except BaseException as exc:
        callbacks: _Callbacks = connection.get_app_data()
        callbacks.interrupt = exc


def _note_request(connection: SSL.Connection, _where: int, _value: int) -> None:
    """Record that the server has requested a certificate. OpenSSL calls this for every step of the handshake."""
    callbacks: _Callbacks = connection.get_app_data()
    try:
        if b"read server certificate request" in connection.get_state_string():
            callbacks.certificate_requested = True
    except BaseException as exc:
        callbacks.interrupt = exc
