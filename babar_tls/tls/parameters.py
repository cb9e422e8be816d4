"""The parameters of a TLS context, which are the key in the cache of contexts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..config.enums import TlsVerify, TlsVersion
from ..config.token_uri import is_token_uri

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TlsParameters"]


#: The protocol identifier that IANA registered for PostgreSQL.
ALPN_POSTGRESQL = "postgresql"


@dataclass(frozen=True, kw_only=True)
class ClientCertificate:
    """The location or content of the client certificate and its private key.

    Attributes:
        certificate: The path of a PEM file, with the client certificate first and intermediates after it, or of a
            PKCS #12 file; or the content of such a file, as `bytes`; or the URI of a certificate in a PKCS #11 token.
        key: The path of the private key, PEM or DER, or its content, or the URI of a key in a PKCS #11 token; `None` if
            `certificate` contains it.
        password: The password of the key or the PIN of its token, or a callable that returns it.
    """

    certificate: str | bytes = field(repr=False)
    key: str | bytes | None = field(default=None, repr=False)
    # Excluded from the hash, because a callable may not be hashable. It is still compared.
    password: str | bytes | Callable[[], str | bytes] | None = field(default=None, repr=False, hash=False)

    @property
    def is_in_token(self) -> bool:
        """True if the key or the certificate is in a PKCS #11 token."""
        return is_token_uri(self.key) or is_token_uri(self.certificate)


@dataclass(frozen=True)
class TrustedRoots:
    """The trusted certificates with which the server was verified.

    Attributes:
        sources: Their origins: the path of a file or directory, or ``truststore``. For default roots the source of the
            path follows in parentheses.
        anchors: The number of certificates, `None` if it is unknown.
    """

    sources: tuple[str, ...]
    anchors: int | None


@dataclass(frozen=True, kw_only=True)
class TlsParameters:
    """The parameters of a context.

    Attributes:
        verify: How to verify the server's certificate.
        root_cert_path: PEM file of certificates to trust.
        default_roots: Trust the machine's default roots as well.
        min_version: Oldest TLS version to accept.
        max_version: Newest TLS version to offer, `None` for the newest that the TLS library has.
        alpn: Protocols to offer, in order.
        send_server_name: Send SNI (for names only: RFC 6066 §3 does not allow addresses).
        common_name: Compare names by the rules of libpq: if the certificate has no alternative name of the required
            kind, the subject's common name is compared. Ignored if `Capabilities.common_names` is False.
        os_roots: Use the operating system's verifier (truststore) instead of a file of default roots.
        client_certificate: The certificate to present if the server requests one.
        crl_path: PEM file of revocation lists. If this or `crl_dir` is set, a list must cover every certificate of
            the chain.
        crl_dir: Hashed directory of revocation lists (``abcdef01.r0``).
        key_log_path: File to which the secrets of connections are appended (``SSLKEYLOGFILE``).
        watch_certificate_request: Report `TlsFacts.certificate_requested`.
        groups: Key-exchange groups to offer, in order, by IANA's names (``X25519MLKEM768``); empty for the default of
            the TLS library.
        ciphers: Cipher suites to offer, of all versions, by IANA's or OpenSSL's names; empty for the default of the TLS
            library. If none belongs to a TLS version, this version is not offered.
    """

    # The hash is computed at each connect. Enum members are excluded, because their hash is slow (in Python).
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
        """True if the server's certificate chain is verified."""
        return self.verify is not TlsVerify.NONE

    @property
    def wants_crls(self) -> bool:
        """True if revocation lists are checked."""
        return self.is_verified and (self.crl_path is not None or self.crl_dir is not None)

    @property
    def wants_os_roots(self) -> bool:
        """True if the operating system's verifier is used."""
        return self.is_verified and self.os_roots and self.default_roots
