"""The interface of a TLS backend: what an adapter of a TLS library implements.

A backend adapts one library. It carries bytes and states facts; the connection (`tls.connection`) does everything that
is the same for all libraries. It decides what to verify, compares host names, remembers failures, and notices when the
server closes the connection. A fact that the library does not expose is `None`. Facts that security depends on are
"no" until a backend states them.

Bytes travel through memory and never through a socket, so that one backend serves blocking and asyncio callers. These
methods of a `TlsStream` are called by one thread at a time, not always the same:

==================  =============================================================================================
ciphertext in       ``receive_data(data)``, in any fragmentation
ciphertext out      ``data_to_send()``, after any other call, also after one that raised: the alert is in there
handshake           ``do_handshake()`` until it returns True
plaintext in        ``read_into(buffer)``: the number of bytes, `None` if more ciphertext is needed, 0 at close_notify
plaintext out       ``write(data)``
close_notify        ``close_notify()``
==================  =============================================================================================

Exceptions of the types in ``library_errors`` are passed to ``translate``, which returns one of the errors of
`babar_tls.errors`. Any other exception propagates to the caller. After any exception the stream is not used again,
except for ``data_to_send()``, ``peer_chain()`` and ``close()``.
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

__all__ = ["TlsBackend", "TlsStream"]


#: Compares the host name with a server's certificate (DER); returns the fault.
CheckLeaf: TypeAlias = "Callable[[bytes], CertificateError | None]"


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a backend can do. What it cannot do is refused before the backend is called (`tls.support`).

    Attributes:
        version: The library's name and version (``OpenSSL 3.0.19``).
        tls_versions: Protocol versions, oldest first.
        channel_bindings: Binding types for which the library has what is needed.
        common_names: The library applies a CA's name constraints to the subject's common name. Only then are common
            names compared (libpq's rules); otherwise a certificate must have alternative names.
        crls: Revocation lists can be checked.
        key_log: The connection's secrets can be logged.
        client_certificates: A client certificate and its key, both in PEM, can be loaded (`TlsMaterial.identity`).
        reports_certificate_request: `StreamFacts.certificate_requested` is known.
        os_roots: The operating system's verifier can be used.
        system_store: The library loads the operating system's certificate store (Windows) by itself.
        selects_groups: Whether `TlsParameters.groups` can be chosen: ``no``, ``one`` (a single group) or ``list``.
        selects_ciphers: Whether `TlsParameters.ciphers` can be chosen: ``no``, ``TLSv1.2`` (only of that version) or
            ``all``.
        fips: The library's cryptography is in FIPS 140 mode, `None` if that is not known.
        unverified_proven: With `TlsVerify.NONE`, too, the server proves that it holds its certificate's key
            (`StreamFacts.possession_proven`).
    """

    version: str
    tls_versions: Sequence[TlsVersion]
    channel_bindings: Sequence[str] = ("tls-server-end-point",)
    common_names: bool = False
    crls: bool = False
    key_log: bool = False
    client_certificates: bool = False
    reports_certificate_request: bool = False
    os_roots: bool = False
    system_store: bool = False
    selects_groups: str = "no"
    selects_ciphers: str = "no"
    fips: bool | None = None
    unverified_proven: bool = False


class StreamFacts(NamedTuple):
    """What a backend states after a handshake.

    Attributes:
        version: ``TLSv1.2`` or ``TLSv1.3``.
        cipher: The cipher suite, in OpenSSL's spelling.
        alpn: The protocol that the server selected, `None` if it selected none.
        possession_proven: The server has proven that it holds the key of its certificate (RFC 8446 §4.4.3, RFC 5246
            §7.4.3), and the library has checked that. Otherwise the certificate may be a copy: the channel is not bound
            to it, no pin matches it, and nothing is learned from the server.
        certificate_requested: The server requested a client certificate; `None` if the library does not report it.
    """

    version: str
    cipher: str
    alpn: str | None
    possession_proven: bool = False
    certificate_requested: bool | None = None


class TlsFacts(NamedTuple):
    """What is known of a TLS connection after its handshake.

    Attributes:
        version: ``TLSv1.2`` or ``TLSv1.3``.
        cipher: The cipher suite.
        alpn: The protocol that the server selected, `None` if it selected none.
        group: The key-exchange group by IANA's name; `None` if there is none (RSA key transport).
        peer_chain: The certificates that the server sent, its own first, DER; at least that one.
        possession_proven: See `StreamFacts`.
        certificate_requested: See `StreamFacts`.
        trusted_roots: What the server's certificate was verified with; `None` if it was not verified.
        binding_data: The channel binding data that only the TLS library has (``tls-exporter``, ``tls-unique``), or why
            there is none; `None` if it was not requested.
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
        """The server's own certificate, DER, exactly as it was sent."""
        return self.peer_chain[0]

    def __repr__(self) -> str:
        """Return the facts without the binding data, which only the two ends of the connection may know."""
        shown = (f"{name}={value!r}" for name, value in self._asdict().items() if name != "binding_data")
        return f"TlsFacts({', '.join(shown)})"


class TlsStream(ABC):
    """The TLS of one connection, over memory. See the table at the top of this module."""

    #: The exceptions that the library raises for failures of a connection.
    library_errors: ClassVar[tuple[type[Exception], ...]]

    @abstractmethod
    def do_handshake(self) -> bool:
        """Continue the handshake. Return True when it is complete and the certificate chain is verified as required."""

    @abstractmethod
    def receive_data(self, data: Buffer) -> None:
        """Take ciphertext from the network."""

    @abstractmethod
    def data_to_send(self) -> bytes:
        """Return the ciphertext for the network, each byte once; empty if there is none."""

    @abstractmethod
    def read_into(self, buffer: memoryview) -> int | None:
        """Put plaintext into `buffer`, of one record or of several.

        Returns:
            The number of bytes, `None` if more ciphertext is needed, 0 if close_notify was received.
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

        Called at any time after ``do_handshake()`` was called, also after it raised. Empty while the library does not
        show them. The connection compares the host name as soon as they are shown: a library that shows them before
        the handshake is complete lets it do that before the client's last flight of TLS 1.2 is sent. With one that does
        not, ``check_leaf`` should be called within the handshake.
        """

    @abstractmethod
    def facts(self) -> StreamFacts:
        """Return what was negotiated. Called once, when the handshake is complete."""

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
            ChannelBindingUnsupported: The library has no exporter.
        """
        raise ChannelBindingUnsupported(f"this TLS backend does not export keying material for {label.decode()!r}")

    def first_finished_message(self) -> bytes:
        """Return the first Finished message of the latest handshake (RFC 5929 §3).

        Raises:
            ChannelBindingUnsupported: The library does not expose it.
        """
        raise ChannelBindingUnsupported("this TLS backend does not expose Finished messages")

    def close(self) -> None:  # noqa: B027 - most libraries need nothing
        """Release resources. Called once, when the stream is not used any more, on every path."""


class TlsBackend(ABC):
    """One TLS library: a class without constructor arguments in a module that imports the library.

    If that import raises `ImportError`, the backend is not available.
    """

    #: The name under which `Config.tls_backend` finds it.
    name: ClassVar[str]
    capabilities: Capabilities

    @abstractmethod
    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> Any:
        """Return what connections with the same parameters share. It is cached, and used by several threads.

        Args:
            parameters: What to verify and what to offer.
            material: The certificates, revocation lists and keys that the parameters name.

        Raises:
            ConfigError: A file is unusable, or the library does not know a name (cipher suite, group).
        """

    @abstractmethod
    def create_stream(self, context: Any, sni: str | None, check_leaf: CheckLeaf) -> TlsStream:
        """Begin a client connection.

        Args:
            context: What `create_context` returned.
            sni: The name to send as SNI, in ASCII; `None`: send none.
            check_leaf: Compares the host name with the server's certificate (DER); returns the fault. A library that
                lets its user decide within the handshake should call it then, and fail the handshake on a fault, so
                that it sends the alert. For other libraries the connection does it.
        """
