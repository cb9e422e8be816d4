"""The interface of a TLS backend, which an adapter of a TLS library implements.

A backend adapts one library. It transfers bytes and reports facts. The connection (`tls.connection`) contains the part
that is the same for all libraries: it compares host names, stores failures and detects the end of the connection. A
fact that the library does not expose is `None`. Facts on which security depends are False by default.

All bytes are passed in memory and never through a socket. A backend therefore works for blocking and asyncio callers.
These methods of a `TlsStream` are called by one thread at a time, but not always by the same thread:

==================  =============================================================================================
ciphertext in       ``receive_data(data)``, in any fragmentation
ciphertext out      ``data_to_send()``, after any other call, even if that raised, because it returns the alert
handshake           ``do_handshake()`` until it returns True
plaintext in        ``read_into(buffer)``: a number of bytes, `None` if more ciphertext is needed, 0 at close_notify
plaintext out       ``write(data)``
close_notify        ``close_notify()``
==================  =============================================================================================

Exceptions of the types in ``library_errors`` are passed to ``translate``, which returns an error of `babar_tls.errors`.
Any other exception propagates to the caller. After any exception the stream is not used again, except for
``data_to_send()``, ``peer_chain()`` and ``close()``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from ..errors import ChannelBindingUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer

    from ..config.enums import TlsVersion
    from ..errors import CertificateError, Error
    from .material import TlsMaterial
    from .parameters import TlsParameters, TrustedRoots

__all__ = ["Capabilities", "StreamFacts", "TlsBackend", "TlsStream"]


#: Compare the host name with a server's certificate (DER), and return the error if it does not match.
CheckLeaf: TypeAlias = "Callable[[bytes], CertificateError | None]"


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """The features that a backend supports. Other features are refused before the backend is called (`tls.support`).

    Attributes:
        version: The library's name and version (``OpenSSL 3.0.19``).
        tls_versions: Protocol versions, oldest first.
        channel_bindings: The channel binding types that the library supports.
        common_names: The library applies a CA's name constraints to the subject's common name. Only then are common
            names compared (the rules of libpq). Otherwise a certificate must have alternative names.
        crls: Revocation lists can be checked.
        key_log: The secrets of connections can be logged.
        client_keys: The places of a client key that the library supports: ``PEM`` (`TlsMaterial.identity`) and
            ``PKCS #11``, a key in a token (`TlsMaterial.token_identity`).
        reports_certificate_request: `StreamFacts.certificate_requested` is reported.
        os_roots: The operating system's verifier can be used.
        system_store: The library itself loads the certificate store of the operating system (Windows).
        selects_groups: Support for `TlsParameters.groups`: ``no``, ``one`` (a single group) or ``list``.
        selects_ciphers: Support for `TlsParameters.ciphers`: ``no``, ``TLSv1.2`` (only suites of that version) or
            ``all``.
        fips: The library's cryptography is in FIPS 140 mode; `None` if that is unknown.
        unverified_proven: `StreamFacts.possession_proven` is True even with `TlsVerify.NONE`.
    """

    version: str
    tls_versions: Sequence[TlsVersion]
    channel_bindings: Sequence[str] = ("tls-server-end-point",)
    common_names: bool = False
    crls: bool = False
    key_log: bool = False
    client_keys: Sequence[str] = ()
    reports_certificate_request: bool = False
    os_roots: bool = False
    system_store: bool = False
    selects_groups: str = "no"
    selects_ciphers: str = "no"
    fips: bool | None = None
    unverified_proven: bool = False


class StreamFacts(NamedTuple):
    """The facts that a backend reports after a handshake.

    Attributes:
        version: ``TLSv1.2`` or ``TLSv1.3``.
        cipher: The cipher suite by OpenSSL's name.
        alpn: The protocol that the server selected, `None` if it selected none.
        possession_proven: The server has proven that it holds the key of its certificate (RFC 8446 §4.4.3, RFC 5246
            §7.4.3), and the library has verified the proof. Otherwise the certificate may be a copy. It is then not
            used for channel binding, it matches no pin, and no facts about the server are cached.
        certificate_requested: The server requested a client certificate; `None` if the library does not report it.
    """

    version: str
    cipher: str
    alpn: str | None
    possession_proven: bool = False
    certificate_requested: bool | None = None


class TlsFacts(NamedTuple):
    """The facts about a TLS connection after its handshake.

    Attributes:
        version: ``TLSv1.2`` or ``TLSv1.3``.
        cipher: The cipher suite.
        alpn: The protocol that the server selected, `None` if it selected none.
        group: The key-exchange group by IANA's name; `None` for RSA key transport.
        peer_chain: The certificates that the server sent, its own first, DER. It contains at least one.
        possession_proven: See `StreamFacts`.
        certificate_requested: See `StreamFacts`.
        trusted_roots: The certificates that the server was verified with; `None` if it was not verified.
        binding_data: The channel binding data of the TLS library (``tls-exporter``, ``tls-unique``), or the reason why
            it is not available; `None` if it was not requested.
    """

    version: str
    cipher: str
    alpn: str | None
    group: str | None
    peer_chain: tuple[bytes, ...]
    possession_proven: bool = False
    certificate_requested: bool | None = None
    trusted_roots: TrustedRoots | None = None
    binding_data: bytes | ChannelBindingUnsupported | None = None

    @property
    def peer_certificate(self) -> bytes:
        """The server's certificate, DER, exactly as it was sent."""
        return self.peer_chain[0]

    def __repr__(self) -> str:
        """Return the facts without the binding data, which must remain secret."""
        shown = (f"{name}={value!r}" for name, value in self._asdict().items() if name != "binding_data")
        return f"TlsFacts({', '.join(shown)})"


class TlsStream(ABC):
    """The TLS state of one connection, over memory. See the table at the top of this module.

    Attributes:
        library_errors: The exceptions that the library raises for failures of a connection.
    """

    library_errors: ClassVar[tuple[type[Exception], ...]]

    @abstractmethod
    def do_handshake(self) -> bool:
        """Continue the handshake. Return True when it is complete and the chain is verified as required."""

    @abstractmethod
    def receive_data(self, data: Buffer) -> None:
        """Process ciphertext from the network."""

    @abstractmethod
    def data_to_send(self) -> bytes:
        """Return the ciphertext for the network, possibly empty. Each byte is returned once."""

    @abstractmethod
    def read_into(self, buffer: memoryview) -> int | None:
        """Write the plaintext of one or more records to `buffer`.

        Returns:
            The number of bytes, `None` if more ciphertext is needed, or 0 if close_notify was received.
        """

    @abstractmethod
    def write(self, data: Buffer) -> None:
        """Encrypt all of `data`."""

    @abstractmethod
    def close_notify(self) -> None:
        """Produce the alert close_notify (RFC 8446 §6.1)."""

    @abstractmethod
    def peer_chain(self) -> tuple[bytes, ...]:
        """Return the certificates that the server sent, its own first, DER, exactly as they were sent.

        It may be called at any time after ``do_handshake()``, even if that raised. The result is empty until the
        library exposes the certificates. The connection then compares the host name. If the library exposes them before
        the handshake is complete, the connection compares before it sends the client's last flight of TLS 1.2.
        Otherwise the backend should call ``check_leaf`` during the handshake.
        """

    @abstractmethod
    def facts(self) -> StreamFacts:
        """Return the negotiated values. Called once, when the handshake is complete."""

    @abstractmethod
    def translate(self, error: Any, *, established: bool) -> Error:
        """Return the error for an exception of the library.

        Args:
            error: One of the types in ``library_errors``.
            established: The handshake was complete.
        """

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        """Return exported keying material for an empty context (RFC 5705, RFC 8446 §7.5, RFC 9266 §2), `length` bytes.

        Raises:
            ChannelBindingUnsupported: The library does not expose the exporter.
        """
        raise ChannelBindingUnsupported(f"this TLS backend does not export keying material for {label.decode()!r}")

    def first_finished_message(self) -> bytes:
        """Return the first Finished message of the latest handshake (RFC 5929 §3).

        Raises:
            ChannelBindingUnsupported: The library does not expose it.
        """
        raise ChannelBindingUnsupported("this TLS backend does not expose Finished messages")

    def close(self) -> None:  # noqa: B027 - optional: most libraries need no cleanup
        """Release resources. Called once for every stream, after its last use."""


class TlsBackend(ABC):
    """One TLS library. The constructor takes no arguments.

    The module of the class imports the library. If that import raises `ImportError`, the backend is not available.

    Attributes:
        name: The name of the backend, for `Config.tls_backend`.
        capabilities: The features that the backend supports.
    """

    name: ClassVar[str]
    capabilities: Capabilities

    def __repr__(self) -> str:
        capabilities = getattr(self, "capabilities", None)
        return f"<{type(self).__name__} {self.name!r}, {capabilities.version if capabilities else 'not initialized'}>"

    @abstractmethod
    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> Any:
        """Return the state that connections with the same parameters share. It is cached, and used by several threads.

        Args:
            parameters: The verification, and the values to offer.
            material: The certificates, revocation lists and keys that the parameters name.

        Raises:
            ConfigError: A file is unusable, or the library does not support a cipher suite or group.
        """

    @abstractmethod
    def create_stream(self, context: Any, sni: str | None, check_leaf: CheckLeaf) -> TlsStream:
        """Begin a client connection.

        Args:
            context: The result of `create_context`.
            sni: The name to send as SNI, in ASCII; `None` to send none.
            check_leaf: Compares the host name with the server's certificate (DER) and returns the error. If the library
                has a verification callback, call it there and make the handshake fail on an error, so that the library
                sends the alert. For other libraries the connection compares the name.
        """
