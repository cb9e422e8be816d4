"""The contract between the core and a TLS engine.

A backend states facts and carries bytes; it decides no policy. It never picks a hash, a mode or a fallback, and it
never answers "no" where it should say "I cannot tell": a fact that an engine does not expose is `None`. Facts that
security depends on are "no" until a backend states them.

Bytes travel through memory, never through a socket, so that one engine serves blocking and asyncio callers alike:

==================  =============================================================================================
ciphertext in       ``receive_data(data)`` as it comes from the wire, in any fragmentation; ``receive_eof()`` when
                    the wire ends
ciphertext out      ``data_to_send()`` after *every* other call; whoever drives the stream sends what it returns,
                    also when the call raised, because the alert that tells the peer why is in there
handshake           ``do_handshake()`` until it returns `True`
plaintext in        ``read_into(buffer)``: the number of bytes, 0 when more ciphertext is needed first (or, with
                    ``peer_closed``, when the peer has said goodbye)
plaintext out       ``write(data)``
goodbye             ``close_notify()``
==================  =============================================================================================

Every failure is one of our errors (`TlsError`, `CertificateError`, `ClientCertificateError`, `Closed`), mapped from
the engine's own at this edge and raised ``from`` it. After a failure a stream stays failed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from ..errors import ChannelBindingUnsupported
from ..modes import TlsVerify, TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer


__all__ = [
    "ALPN_POSTGRESQL",
    "Capabilities",
    "ClientCertificate",
    "TlsBackend",
    "TlsParameters",
    "TlsStream",
    "TrustedRoots",
]

#: The protocol identifier that IANA registered for PostgreSQL.
ALPN_POSTGRESQL = "postgresql"


@dataclass(frozen=True, kw_only=True)
class ClientCertificate:
    """Where our own certificate and its private key are.

    Attributes:
        certificate: Path of a PEM file, our certificate first and intermediates after it, or of a PKCS #12 file; or
            the content of one, as `bytes`.
        key: Path of the private key, PEM or DER, or its content; `None` if `certificate` holds it.
        password: What decrypts the key, or a callable that returns it.
    """

    certificate: str | bytes = field(repr=False)
    key: str | bytes | None = field(default=None, repr=False)
    # A callable may have no hash; it is compared all the same.
    password: str | bytes | Callable[[], str | bytes] | None = field(default=None, repr=False, hash=False)


@dataclass(frozen=True)
class TrustedRoots:
    """What certificates were verified with.

    Attributes:
        sources: Where the roots are from: the path of a file or directory, or ``truststore``; behind it, in
            parentheses, who names it where it is not the caller.
        anchors: How many certificates there are; `None` where that cannot be counted.
    """

    sources: tuple[str, ...]
    anchors: int | None


@dataclass(frozen=True, kw_only=True)
class TlsParameters:
    """What an engine's context is made from: a value, so that contexts can be cached by it.

    Attributes:
        verify: What to verify of the server's certificate.
        root_cert_path: PEM bundle of roots to trust.
        default_roots: Trust the machine's default roots as well.
        min_version: Oldest protocol version to accept.
        max_version: Newest to offer, `None` for the engine's newest.
        alpn: Protocols to offer, in order.
        send_server_name: Send SNI (names only: RFC 6066 §3 has none for addresses).
        common_name: Verify names by libpq's rules: the subject's common name counts where the certificate has no
            alternative name of the kind that is looked for.
        os_roots: The default roots are the operating system's verifier (truststore) and not a bundle.
        client_certificate: What to answer with if the server asks for a certificate.
        crl_path: PEM file of revocation lists. With it, or `crl_dir`, every certificate of the chain must be covered
            by one.
        crl_dir: Directory of revocation lists under their issuers' hashes (``abcdef01.r0``).
        key_log_path: File to append the connection's secrets to (``SSLKEYLOGFILE``).
        watch_certificate_request: `TlsStream.certificate_requested` will be asked.
        groups: Key-exchange groups to offer, in order, in IANA's spelling (``X25519MLKEM768``); empty for the
            engine's own choice.
        ciphers: Cipher suites to offer, of all versions, in IANA's spelling or OpenSSL's; empty for the engine's own
            choice. A version of TLS of which none is named is not offered.
    """

    verify: TlsVerify = TlsVerify.FULL
    root_cert_path: str | None = None
    default_roots: bool = True
    min_version: TlsVersion = TlsVersion.TLSV1_2
    max_version: TlsVersion | None = None
    alpn: tuple[str, ...] = (ALPN_POSTGRESQL,)
    send_server_name: bool = True
    common_name: bool = False
    os_roots: bool = False
    client_certificate: ClientCertificate | None = None
    crl_path: str | None = None
    crl_dir: str | None = None
    key_log_path: str | None = None
    watch_certificate_request: bool = False
    groups: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What an engine can do, as far as it is known without a connection.

    Attributes:
        version: The engine's name and version (``OpenSSL 3.0.19``).
        tls_versions: Protocol versions, oldest first.
        channel_bindings: Binding types for which the engine has what is needed.
        reports_group: Whether the negotiated key-exchange group can be asked for.
        reports_chain: Whether the peer's whole chain can be asked for.
        common_names: Whether libpq's name rules, with their common names, can be verified by.
        crls: Whether revocation lists can be checked.
        key_log: Whether the connection's secrets can be logged.
        client_keys: The kinds of private key file that it can use.
        reports_certificate_request: Whether it can tell that the server asked for a certificate.
        os_roots: Whether the operating system's verifier can be used.
        selects_groups: Whether `TlsParameters.groups` can be had: ``no``, ``one`` (a single group) or ``list``.
        selects_ciphers: Whether `TlsParameters.ciphers` can be had: ``no``, ``TLSv1.2`` (of that version alone) or
            ``all``.
        fips: Whether the engine's cryptography is in FIPS 140 mode, `None` where it does not tell.
        unverified_proven: Whether with `TlsVerify.NONE` the server must still prove that it holds its certificate's
            key (`TlsStream.possession_proven`).
    """

    version: str
    tls_versions: Sequence[TlsVersion]
    channel_bindings: Sequence[str]
    reports_group: bool
    reports_chain: bool
    common_names: bool = False
    crls: bool = False
    key_log: bool = False
    client_keys: Sequence[str] = ()
    reports_certificate_request: bool = False
    os_roots: bool = False
    selects_groups: str = "no"
    selects_ciphers: str = "no"
    fips: bool | None = None
    unverified_proven: bool = False


class TlsStream(ABC):
    """One connection's TLS, over memory. Not thread-safe; see the module's table for the order of calls."""

    #: The peer has sent close_notify: what was read so far is all there is.
    peer_closed: bool = False

    #: The server has proven that it holds the key of its certificate (RFC 8446 §4.4.3, RFC 5246 §7.4.3). A backend sets
    #: it after a handshake in which that was checked. Otherwise the certificate may be a copy: nothing is bound to it,
    #: no pin matches it, and nothing is learned from the server.
    possession_proven: bool = False

    #: The roots that the server's certificate was verified with; `None` where none were, or the engine does not tell.
    trusted_roots: TrustedRoots | None = None

    @abstractmethod
    def do_handshake(self) -> bool:
        """Go on with the handshake; `True` when it is finished and the certificate verified as asked.

        Raises:
            CertificateError: The server's certificate was not accepted.
            TlsError: Anything else that ended the handshake.
        """

    @abstractmethod
    def receive_data(self, data: Buffer) -> None:
        """Take ciphertext from the wire."""

    @abstractmethod
    def receive_eof(self) -> None:
        """The wire has ended. Without a close_notify before it, reading on raises `Closed`: data may be missing."""

    @abstractmethod
    def data_to_send(self) -> bytes:
        """Ciphertext for the wire, empty when there is none."""

    @abstractmethod
    def read_into(self, buffer: memoryview) -> int:
        """Put plaintext into `buffer`; returns the number of bytes, 0 when there is none (yet)."""

    @abstractmethod
    def write(self, data: Buffer) -> int:
        """Encrypt all of `data`; returns its length in bytes."""

    @abstractmethod
    def close_notify(self) -> None:
        """Say goodbye (RFC 8446 §6.1); never raises."""

    @property
    @abstractmethod
    def version(self) -> str:
        """``TLSv1.2`` or ``TLSv1.3``."""

    @property
    @abstractmethod
    def cipher(self) -> str:
        """The cipher suite's name, in the engine's spelling."""

    @property
    def hello_retried(self) -> bool:
        """The server has asked for another ClientHello: it accepted none of our key shares (RFC 8446 §4.1.4)."""
        return False

    @property
    def group(self) -> str | None:
        """The key-exchange group (``x25519``), `None` where the engine does not tell."""
        return None

    @property
    @abstractmethod
    def alpn(self) -> str | None:
        """The protocol that the server selected, `None` if it selected none."""

    @property
    @abstractmethod
    def peer_certificate(self) -> bytes:
        """The server's own certificate, DER, exactly as it was sent."""

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        """What the server sent, its own certificate first, DER; at least that one."""
        return (self.peer_certificate,)

    @property
    def certificate_requested(self) -> bool | None:
        """The server asked for a client certificate; `None` where the engine cannot tell.

        It is asked for with `TlsParameters.watch_certificate_request` alone.
        """
        return None

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        """Exported keying material for an empty context (RFC 5705, RFC 8446 §7.5, RFC 9266 §2), `length` bytes.

        Raises:
            ChannelBindingUnsupported: The engine has no exporter.
        """
        raise ChannelBindingUnsupported(f"this TLS engine does not export keying material for {label.decode()!r}")

    def first_finished_message(self) -> bytes:
        """The first Finished message of the latest handshake (RFC 5929 §3).

        Raises:
            ChannelBindingUnsupported: The engine does not expose it.
        """
        raise ChannelBindingUnsupported("this TLS engine does not expose Finished messages")


class TlsBackend(ABC):
    """One TLS engine: a class without constructor arguments in a module that imports the engine.

    Where that import raises `ImportError`, the engine is absent.
    """

    #: The name under which `Config.tls_backend` finds it.
    name: ClassVar[str]

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this engine can do."""

    @abstractmethod
    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        """Begin a client connection.

        Args:
            parameters: How to build, or find, the engine's context.
            server_hostname: The name or address to verify and, if it is a name, to send as SNI.

        Raises:
            ConfigError: A file that `parameters` names is missing or unusable, or the engine cannot do what is asked.
        """
