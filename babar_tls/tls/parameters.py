"""What a TLS context is made from, as a value by which contexts are cached, and what was trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..config.enums import TlsVerify, TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TlsParameters"]


#: The protocol identifier that IANA registered for PostgreSQL.
ALPN_POSTGRESQL = "postgresql"


@dataclass(frozen=True, kw_only=True)
class ClientCertificate:
    """Where the client certificate and its private key are.

    Attributes:
        certificate: Path of a PEM file, the client certificate first and intermediates after it, or of a PKCS #12 file;
            or the content of one, as `bytes`.
        key: Path of the private key, PEM or DER, or its content; `None` if `certificate` holds it.
        password: What decrypts the key, or a callable that returns it.
    """

    certificate: str | bytes = field(repr=False)
    key: str | bytes | None = field(default=None, repr=False)
    # A callable may have no hash; it is compared all the same.
    password: str | bytes | Callable[[], str | bytes] | None = field(default=None, repr=False, hash=False)


@dataclass(frozen=True)
class TrustedRoots:
    """The certificates that the server was verified with.

    Attributes:
        sources: Where they are from: the path of a file or directory, or ``truststore``; in parentheses after it what
            named it, if that was not the caller.
        anchors: How many certificates there are; `None` where that cannot be counted.
    """

    sources: tuple[str, ...]
    anchors: int | None


@dataclass(frozen=True, kw_only=True)
class TlsParameters:
    """What a context is made from.

    Attributes:
        verify: What to verify of the server's certificate.
        root_cert_path: PEM file of certificates to trust.
        default_roots: Trust the machine's default roots as well.
        min_version: Oldest protocol version to accept.
        max_version: Newest to offer, `None` for the newest of the TLS library.
        alpn: Protocols to offer, in order.
        send_server_name: Send SNI (names only: RFC 6066 §3 has none for addresses).
        common_name: Verify names by libpq's rules: the subject's common name counts where the certificate has no
            alternative name of the kind that is looked for. Without effect if `Capabilities.common_names` is False.
        os_roots: The default roots are the operating system's verifier (truststore) and not a file.
        client_certificate: What to present if the server requests a certificate.
        crl_path: PEM file of revocation lists. With it, or `crl_dir`, every certificate of the chain must be covered
            by one.
        crl_dir: Directory of revocation lists under the hashes of their issuers' names (``abcdef01.r0``).
        key_log_path: File to append the connection's secrets to (``SSLKEYLOGFILE``).
        watch_certificate_request: `TlsFacts.certificate_requested` is needed.
        groups: Key-exchange groups to offer, in order, in IANA's spelling (``X25519MLKEM768``); empty for those of the
            TLS library.
        ciphers: Cipher suites to offer, of all versions, in IANA's spelling or OpenSSL's; empty for those of the TLS
            library. A version of TLS of which none is named is not offered.
    """

    # Contexts are found by the hash at each connect, and members of an Enum compute theirs in Python.
    verify: TlsVerify = field(default=TlsVerify.FULL, hash=False)
    root_cert_path: str | None = None
    default_roots: bool = True
    min_version: TlsVersion = field(default=TlsVersion.TLSV1_2, hash=False)
    max_version: TlsVersion | None = field(default=None, hash=False)
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

    @property
    def is_verified(self) -> bool:
        """The server's certificate chain is verified."""
        return self.verify is not TlsVerify.NONE

    @property
    def wants_crls(self) -> bool:
        """Revocation lists are checked."""
        return self.is_verified and (self.crl_path is not None or self.crl_dir is not None)

    @property
    def wants_os_roots(self) -> bool:
        """The operating system's verifier is used."""
        return self.is_verified and self.os_roots and self.default_roots
