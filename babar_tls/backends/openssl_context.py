"""Contexts of pyOpenSSL, and what is verified of each connection that is made with one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from ..errors import ConfigError
from ..modes import TlsVerify, TlsVersion
from ..tls.client_identity import load_identity
from ..tls.crl import revocation_lists, unusable_list, wants_revocation_lists
from ..tls.default_roots import refuse_os_roots
from ..tls.key_log import append_line
from ..tls.memory_files import file_of
from ..tls.pem_files import load_with_openssl
from ..tls.root_files import Roots, read_roots, unusable_root_file
from ..tls.suites import TLS13_SUITES, check_group, choice, only_group, unknown_cipher, unknown_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..tls.contract import ClientCertificate, TlsParameters

__all__ = ["SELECTS_TLS13_SUITES", "VERSIONS", "Callbacks", "build_context", "der_of", "fault_code", "reason_of"]

#: pyOpenSSL got it with 25.2.
SELECTS_TLS13_SUITES = hasattr(SSL.Context, "set_tls13_ciphersuites")

_ENGINE = "the openssl backend"
#: The groups that pyOpenSSL can be restricted to.
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

VERSIONS = {TlsVersion.TLSV1_2: SSL.TLS1_2_VERSION, TlsVersion.TLSV1_3: SSL.TLS1_3_VERSION}


class Callbacks:
    """What OpenSSL's callbacks report of one connection. Connections refer to it, and it refers to none of them.

    Attributes:
        certificate_requested: The server has requested a certificate.
        interrupt: What was raised in a callback: an exception cannot pass through C.
    """

    def __init__(self) -> None:
        self.certificate_requested = False
        self.interrupt: BaseException | None = None

    def check(self) -> None:
        """Raise what was raised in a callback."""
        interrupt, self.interrupt = self.interrupt, None
        if interrupt is not None:
            raise interrupt


def build_context(parameters: TlsParameters) -> tuple[SSL.Context, Roots]:
    """Make a context that does what `parameters` ask for, and return the roots in it.

    Raises:
        ConfigError: A file is missing or unusable, or pyOpenSSL cannot do it.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    _choose_algorithms(context, parameters)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if parameters.alpn:
        context.set_alpn_protos([name.encode() for name in parameters.alpn])
    roots = _set_verification(context, parameters)
    if parameters.client_certificate is not None:
        _use_identity(context, parameters.client_certificate)
    path = parameters.key_log_path
    if path is not None:
        context.set_keylog_callback(partial(_log_line, path))
    if parameters.watch_certificate_request:
        context.set_info_callback(_note_request)
    if parameters.groups:
        check_group(parameters, _first_flight(context), _ENGINE)
    return context, roots


def _first_flight(context: SSL.Context) -> bytes | None:
    connection = SSL.Connection(context, None)
    connection.set_app_data(Callbacks())
    connection.set_connect_state()
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return connection.bio_read(1 << 16)
    except SSL.Error:
        return None  # no group can be used with these versions
    return None


def _choose_algorithms(context: SSL.Context, parameters: TlsParameters) -> None:
    """Versions, cipher suites and key-exchange group."""
    chosen = choice(parameters)
    context.set_min_proto_version(VERSIONS[chosen.min_version])
    if chosen.max_version is not None:
        context.set_max_proto_version(VERSIONS[chosen.max_version])
    if chosen.tls13:
        _set_tls13_suites(context, parameters, chosen.tls13)
    if chosen.tls12:
        _set_tls12_suites(context, parameters, chosen.tls12)
    group = only_group(parameters, _ENGINE)
    if group is not None:
        if group not in _CURVES:
            raise unknown_group(parameters.groups[0], _ENGINE)
        context.set_tmp_ecdh(_CURVES[group]())


def _set_tls13_suites(context: SSL.Context, parameters: TlsParameters, names: Sequence[str]) -> None:
    if SELECTS_TLS13_SUITES:
        try:
            context.set_tls13_ciphersuites(":".join(names).encode())
        except SSL.Error as exc:
            raise unknown_cipher(parameters, names, _ENGINE) from exc
        return
    offered = {
        name
        for name in SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None).get_cipher_list()
        if name in TLS13_SUITES
    }
    if set(names) != offered:
        raise ConfigError(
            "this pyOpenSSL cannot choose among the cipher suites of TLS 1.3",
            remedy=f"pyOpenSSL 25.2 can; or name all that it offers ({', '.join(sorted(offered))}).",
        )


def _set_tls12_suites(context: SSL.Context, parameters: TlsParameters, names: Sequence[str]) -> None:
    trial = SSL.Context(SSL.TLS_CLIENT_METHOD)  # whose list can be read: that makes a context immutable
    try:
        for changed in (context, trial):
            changed.set_cipher_list(":".join(names).encode())
    except SSL.Error as exc:
        raise unknown_cipher(parameters, names, _ENGINE) from exc
    found = SSL.Connection(trial, None).get_cipher_list()
    missing = [name for name in names if name not in found]
    if missing:  # OpenSSL passes over a name that it does not know, and takes one for a class of suites
        raise unknown_cipher(parameters, missing, _ENGINE)


def der_of(certificate: crypto.X509) -> bytes:
    """The certificate as it was sent."""
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def reason_of(exc: SSL.Error) -> str:
    """OpenSSL's last reason, perhaps empty."""
    errors = exc.args[0] if exc.args else ()
    return errors[-1][2] if errors and isinstance(errors, list) else ""


def _set_verification(context: SSL.Context, parameters: TlsParameters) -> Roots:
    if parameters.verify is TlsVerify.NONE:
        context.set_verify(SSL.VERIFY_NONE)
        return Roots()
    refuse_os_roots(parameters)
    context.set_verify(SSL.VERIFY_PEER)
    roots = read_roots(parameters, windows_store=False)
    load = partial(_load, context)
    load_with_openssl((*roots.certificates, *roots.lists), load, unusable_root_file)
    if wants_revocation_lists(parameters):
        load_with_openssl(revocation_lists(parameters), load, unusable_list)
        store = context.get_cert_store()
        if store is None:  # never, of a context
            raise ConfigError("this OpenSSL has no store for certificate revocation lists")
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
    return roots


def _load(context: SSL.Context, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except SSL.Error as exc:
        raise ValueError(reason_of(exc)) from exc


def _use_identity(context: SSL.Context, source: ClientCertificate) -> None:
    """Load a client certificate and its key.

    OpenSSL reads them, because cryptography is stricter about certificates and makes ordinary RSA keys of RSASSA-PSS
    keys. Only an encrypted key passes through cryptography: pyOpenSSL has deprecated its own function for passwords.
    """
    identity = load_identity(source)
    try:
        with file_of(identity.chain) as chain, file_of(identity.key) as key:
            context.use_certificate_chain_file(chain)
            if identity.password is None:
                context.use_privatekey_file(key)
            else:
                decrypted = load_pem_private_key(identity.key, identity.password)
                context.use_privatekey(decrypted)  # type: ignore[arg-type]  # of whatever kind
        context.check_privatekey()
    except SSL.Error as exc:
        raise identity.unusable(reason_of(exc)) from exc
    except (ValueError, TypeError, UnsupportedAlgorithm, crypto.Error) as exc:
        raise identity.unusable("") from exc


def fault_code(connection: SSL.Connection) -> int | None:
    """Return OpenSSL's code of the fault in the server's chain; pyOpenSSL has no public method for that."""
    try:
        code: int = SSL._lib.SSL_get_verify_result(connection._ssl)  # type: ignore[attr-defined]
    except AttributeError:
        return None
    return code


def _log_line(path: str, connection: SSL.Connection, line: bytes) -> None:
    try:
        append_line(path, line)
    except BaseException as exc:
        callbacks: Callbacks = connection.get_app_data()
        callbacks.interrupt = exc


def _note_request(connection: SSL.Connection, _where: int, _value: int) -> None:
    """Note that the server has requested a certificate; OpenSSL calls for every step of the handshake."""
    callbacks: Callbacks = connection.get_app_data()
    try:
        if b"read server certificate request" in connection.get_state_string():
            callbacks.certificate_requested = True
    except BaseException as exc:
        callbacks.interrupt = exc
