"""The backend `stdlib`: Python's `ssl`, which uses the OpenSSL with which this Python was built."""

from __future__ import annotations

import re
import ssl
import sys
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from ..config.enums import TlsVersion
from ..errors import ChannelBindingUnsupported, ConfigError
from ..tls.algorithms import check_tls12_suites, check_tls13_suites, select, unknown_cipher, unknown_group
from ..tls.contract import Capabilities, StreamFacts, TlsBackend, TlsStream
from ..tls.errors import eof_error
from ..tls.key_log import open_key_log
from .openssl_errors import certificate_error, ssl_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer

    from ..errors import Error
    from ..tls.client_identity import Identity
    from ..tls.material import TlsMaterial
    from ..tls.parameters import TlsParameters

_VERSIONS = {TlsVersion.TLSV1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.TLSV1_3: ssl.TLSVersion.TLSv1_3}
#: `ssl` has this hook for Python's own tests. Without it certificate requests are not reported.
_WATCHES_REQUESTS = hasattr(ssl.SSLContext, "_msg_callback")
_CERTIFICATE_REQUEST = 13  # RFC 8446 §4
_REQUESTED = "babar_tls_certificate_requested"
#: OpenSSL's names of groups where they are not IANA's.
_GROUPS = {"secp256r1": "prime256v1", "x25519": "X25519", "x448": "X448"}
_DER = 2  # the number of the encoding in _ssl
#: An error for which Python's ssl has no name, such as alert 120 (no_application_protocol).
_TEXT = re.compile(r"\[SSL\] (.*) \(_ssl\.c:\d+\)")


class StdlibBackend(TlsBackend):
    """TLS with the standard library."""

    name = "stdlib"

    def __init__(self) -> None:
        self.capabilities = Capabilities(
            version=ssl.OPENSSL_VERSION,
            tls_versions=tuple(v for v, has in zip(_VERSIONS, (ssl.HAS_TLSv1_2, ssl.HAS_TLSv1_3), strict=True) if has),
            channel_bindings=("tls-server-end-point", "tls-unique"),
            common_names=True,
            crls=True,
            key_log=hasattr(ssl.SSLContext, "keylog_filename"),
            client_keys=("PEM",),
            reports_certificate_request=_WATCHES_REQUESTS,
            os_roots=find_spec("truststore") is not None,
            system_store=True,
            selects_groups="one",
            selects_ciphers="all" if hasattr(ssl.SSLContext, "set_ciphersuites") else "TLSv1.2",
            fips=_fips(),
            unverified_proven=True,
        )

    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> ssl.SSLContext:
        """Create a context; see `TlsBackend.create_context`."""
        context = _os_context(parameters) if parameters.wants_os_roots else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _choose_algorithms(context, parameters)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        if parameters.alpn:
            context.set_alpn_protocols(list(parameters.alpn))
        context.check_hostname = False  # the connection compares names, for every backend
        # OpenSSL applies a CA's name constraints to the common name only if this is enabled.
        context.hostname_checks_common_name = parameters.common_name
        context.verify_mode = ssl.CERT_REQUIRED if parameters.is_verified else ssl.CERT_NONE
        if material.roots.system_store and not parameters.os_roots:
            context.load_default_certs()
        material.load_into_openssl(partial(_load, context))
        if parameters.wants_crls:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        identity = material.identity
        if identity is not None:
            _load_identity(context, identity)
        if parameters.key_log_path is not None:
            with open_key_log(parameters.key_log_path) as path:
                context.keylog_filename = path
        if parameters.watch_certificate_request:
            # The context of truststore wraps another context, which creates the connections.
            inner: Any = getattr(context, "_ctx", context)
            inner._msg_callback = _note_request
        return context

    def create_stream(self, context: ssl.SSLContext, sni: str | None, check_leaf: object) -> TlsStream:
        """Begin a client connection; see `TlsBackend.create_stream`."""
        return _Stream(context, sni)


class _Stream(TlsStream):
    library_errors = (ssl.SSLError,)

    def __init__(self, context: ssl.SSLContext, sni: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=sni)

    def do_handshake(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def receive_data(self, data: Buffer) -> None:
        self._incoming.write(data)

    def data_to_send(self) -> bytes:
        return self._outgoing.read()

    def read_into(self, buffer: memoryview) -> int | None:
        if not (self._incoming.pending or self._object.pending()):
            return None  # avoids an exception
        try:
            return cast("int", self._object.read(len(buffer), buffer))  # with a buffer, read() returns a count
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return 0

    def write(self, data: Buffer) -> None:
        self._object.write(data)

    def close_notify(self) -> None:
        try:
            self._object.unwrap()
        except ssl.SSLWantReadError:
            pass  # unwrap() waits for the server's close_notify

    def peer_chain(self) -> tuple[bytes, ...]:
        inner: Any = getattr(self._object, "_sslobj", None)
        try:  # this method is public since Python 3.13
            return tuple(item.public_bytes(_DER) for item in inner.get_unverified_chain())
        except (AttributeError, TypeError):
            pass
        try:
            certificate = self._object.getpeercert(binary_form=True)
        except ValueError:
            certificate = None  # the handshake is not complete
        return (certificate,) if certificate is not None else ()

    def facts(self) -> StreamFacts:
        cipher = self._object.cipher()
        return StreamFacts(
            version=self._object.version() or "",
            cipher=cipher[0] if cipher else "",
            alpn=self._object.selected_alpn_protocol(),
            possession_proven=True,  # OpenSSL verifies the server's signature with every TlsVerify
            certificate_requested=getattr(self._object, _REQUESTED, False) if _WATCHES_REQUESTS else None,
        )

    def first_finished_message(self) -> bytes:
        data = self._object.get_channel_binding("tls-unique")
        if data is None:
            raise ChannelBindingUnsupported("this Python's ssl does not expose the Finished message")
        return data

    def translate(self, error: Any, *, established: bool) -> Error:
        if isinstance(error, ssl.SSLCertVerificationError):
            return certificate_error(error.verify_code, error.verify_message)
        if isinstance(error, ssl.SSLZeroReturnError):
            return eof_error()
        reason = getattr(error, "reason", None) or _library_text(error)
        return ssl_error(reason, established=established)


def _library_text(exc: Exception) -> str:
    """Return OpenSSL's text for an error that has no name in Python; empty if there is none."""
    found = _TEXT.search(str(exc))
    return found[1] if found is not None and found[1] != "unknown error" else ""


def _fips() -> bool | None:
    """Return the FIPS mode of hashlib. Python has no public function for this."""
    try:
        import _hashlib  # noqa: PLC0415 - missing in some builds

        return bool(_hashlib.get_fips_mode())
    except (ImportError, AttributeError, ValueError):
        return None


def _choose_algorithms(context: ssl.SSLContext, parameters: TlsParameters) -> None:
    """Set the versions, cipher suites and key-exchange group."""
    chosen = select(parameters)
    context.minimum_version = _VERSIONS[chosen.min_version]
    if chosen.max_version is not None:
        context.maximum_version = _VERSIONS[chosen.max_version]
    if chosen.tls12:
        _set_tls12_suites(context, parameters, chosen.tls12)
    if chosen.tls13:
        _set_tls13_suites(context, parameters, chosen.tls13)
    for group in chosen.groups:
        try:
            context.set_ecdh_curve(_GROUPS.get(group, group))
        except (ValueError, ssl.SSLError) as exc:
            raise unknown_group(parameters.groups[0], "stdlib") from exc


def _set_tls12_suites(context: ssl.SSLContext, parameters: TlsParameters, names: Sequence[str]) -> None:
    try:
        context.set_ciphers(":".join(names))
    except ssl.SSLError as exc:
        raise unknown_cipher(parameters, names, "stdlib") from exc
    check_tls12_suites(parameters, names, {suite["name"] for suite in context.get_ciphers()}, "stdlib")


def _set_tls13_suites(context: ssl.SSLContext, parameters: TlsParameters, names: Sequence[str]) -> None:
    choose: Callable[[str], None] | None = getattr(context, "set_ciphersuites", None)
    if choose is not None:
        try:
            choose(":".join(names))
        except ssl.SSLError as exc:
            raise unknown_cipher(parameters, names, "stdlib") from exc
        return
    offered = {suite["name"] for suite in context.get_ciphers() if suite["protocol"] == "TLSv1.3"}
    check_tls13_suites(names, offered, "this Python's ssl")


def _note_request(
    connection: ssl.SSLObject, direction: str, _version: object, _content: object, message: int, _data: bytes
) -> None:
    if direction == "read" and message == _CERTIFICATE_REQUEST:
        setattr(connection, _REQUESTED, True)


def _os_context(parameters: TlsParameters) -> ssl.SSLContext:
    import truststore  # noqa: PLC0415 - optional; `Capabilities.os_roots` is True if it is installed

    if parameters.wants_crls and sys.platform in ("win32", "darwin"):
        raise ConfigError(
            "the operating system's verifier would not check the revocation lists",
            remedy="Remove tls_os_roots, or tls_crl_path and tls_crl_dir.",
        )
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _load(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as exc:
        raise ValueError(getattr(exc, "reason", None) or str(exc)) from exc


def _load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    with identity.files() as (chain, key):
        try:
            # If no password is required, pass an empty one: OpenSSL could otherwise prompt on the terminal.
            context.load_cert_chain(chain, key, identity.password or b"")
        except (ssl.SSLError, OSError, ValueError) as exc:
            raise identity.unusable(getattr(exc, "reason", None) or "") from exc
