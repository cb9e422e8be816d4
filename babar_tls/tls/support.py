"""Refuse a configuration that requires unsupported features of a backend, before the backend is called.

The connection, `explain` and `check_backend` use the same function, so that their results are equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..config.enums import TlsVersion
from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .contract import Capabilities, TlsBackend
    from .parameters import TlsParameters


_ORDER = list(TlsVersion)
_OTHER = "Use tls_backend='stdlib' or 'openssl' (`babar-tls backends` shows the features of each)"


class Lack(NamedTuple):
    """A required feature that a backend does not support.

    Attributes:
        what: The feature, as a verb with its object.
        remedy: How to obtain the feature, or to remove the requirement.
    """

    what: str
    remedy: str


def lacks(parameters: TlsParameters, capabilities: Capabilities) -> Iterator[Lack]:
    """Yield the features that the parameters require and the capabilities do not include."""
    if parameters.wants_os_roots and not capabilities.os_roots:
        yield Lack(
            "use the operating system's verifier (truststore)",
            "Use tls_backend='stdlib' and pip install 'babar-tls[truststore]', or leave out tls_os_roots.",
        )
    if parameters.wants_crls and not capabilities.crls:
        yield Lack("check certificate revocation lists", f"{_OTHER}, or leave out tls_crl_path and tls_crl_dir.")
    if parameters.key_log_path is not None and not capabilities.key_log:
        yield Lack("log the secrets of TLS", f"{_OTHER}, or leave out tls_key_log_path.")
    if parameters.watch_certificate_request and not capabilities.reports_certificate_request:
        yield Lack(
            "report whether the server requests a client certificate",
            f"{_OTHER}, or leave out tls_client_cert_mode=require (sslcertmode).",
        )
    source = parameters.client_certificate
    if source is not None and not capabilities.client_keys:
        yield Lack("present a client certificate", f"{_OTHER}, or leave out tls_client_cert (sslcert).")
    elif source is not None and source.is_in_token and "PKCS #11" not in capabilities.client_keys:
        yield Lack(
            "use a client key in a PKCS #11 token",
            "Install the package babar-tls-gnutls and use tls_backend='gnutls', or set tls_client_key (sslkey) to a "
            "file.",
        )
    elif source is not None and not source.is_in_token and "PEM" not in capabilities.client_keys:
        yield Lack(
            "use a client key in a file", f"{_OTHER}, or set tls_client_key (sslkey) to the URI of a key in a token."
        )
    if parameters.groups and capabilities.selects_groups == "no":
        names = ", ".join(map(repr, parameters.groups))
        yield Lack(f"be restricted to the key-exchange group {names}", f"{_OTHER}, or leave out tls_groups.")
    if len(parameters.groups) > 1 and capabilities.selects_groups == "one":
        names = ", ".join(parameters.groups)
        yield Lack(
            f"be restricted to a list of key-exchange groups ({names}), only to one",
            "Set tls_groups to one group, or leave it out.",
        )
    if parameters.ciphers and capabilities.selects_ciphers == "no":
        yield Lack("be restricted to cipher suites", f"{_OTHER}, or leave out tls_ciphers.")
    newest = parameters.max_version or _ORDER[-1]
    allowed = _ORDER[_ORDER.index(parameters.min_version) : _ORDER.index(newest) + 1]
    if not set(allowed) & set(capabilities.tls_versions):
        names = " or ".join(version.value for version in allowed)
        yield Lack(f"use {names}", f"{_OTHER}, or change tls_min_version or tls_max_version.")


def refuse_unsupported(backend: TlsBackend, parameters: TlsParameters) -> None:
    """Check that a backend supports the parameters.

    Raises:
        ConfigError: A feature is not supported. The error names the first.
    """
    for lack in lacks(parameters, backend.capabilities):
        raise ConfigError(f"the {backend.name} backend cannot {lack.what}", remedy=lack.remedy)
