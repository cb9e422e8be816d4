"""What a configuration requires of TLS and a backend cannot do: refused before the backend is called.

The connection, `explain` and `check_backend` use the same function, so that none of them knows better than another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError
from ..modes import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .contract import Capabilities, TlsBackend
    from .parameters import TlsParameters

__all__ = ["Lack", "lacks", "refuse_unsupported"]

_ORDER = list(TlsVersion)


class Lack(NamedTuple):
    """One thing that a backend cannot do.

    Attributes:
        what: The thing, as a verb with its object.
        options: What to leave out, or to change, to do without it.
    """

    what: str
    options: str


def lacks(parameters: TlsParameters, capabilities: Capabilities) -> Iterator[Lack]:
    """Yield what the parameters require and the capabilities exclude."""
    if parameters.wants_os_roots and not capabilities.os_roots:
        yield Lack(
            "use the operating system's verifier (truststore)",
            "leave out tls_os_roots. tls_backend='stdlib' can, after pip install 'babar-tls[truststore]'",
        )
    if parameters.wants_crls and not capabilities.crls:
        yield Lack("check certificate revocation lists", "leave out tls_crl_path and tls_crl_dir")
    if parameters.key_log_path is not None and not capabilities.key_log:
        yield Lack("log the secrets of TLS", "leave out tls_key_log_path")
    if parameters.watch_certificate_request and not capabilities.reports_certificate_request:
        yield Lack("report whether the server requests a client certificate", "leave out tls_client_cert_mode=require")
    if parameters.client_certificate is not None and not capabilities.client_certificates:
        yield Lack("present a client certificate", "leave out tls_client_cert")
    if parameters.groups and capabilities.selects_groups == "no":
        yield Lack(
            f"be restricted to the key-exchange group {', '.join(map(repr, parameters.groups))}",
            "leave out tls_groups",
        )
    if len(parameters.groups) > 1 and capabilities.selects_groups == "one":
        yield Lack(
            f"be restricted to a list of key-exchange groups ({', '.join(parameters.groups)}), only to one",
            "name one group in tls_groups, or none",
        )
    if parameters.ciphers and capabilities.selects_ciphers == "no":
        yield Lack("be restricted to cipher suites", "leave out tls_ciphers")
    newest = parameters.max_version or _ORDER[-1]
    allowed = _ORDER[_ORDER.index(parameters.min_version) : _ORDER.index(newest) + 1]
    if not set(allowed) & set(capabilities.tls_versions):
        yield Lack(
            f"use {' or '.join(version.value for version in allowed)}", "change tls_min_version or tls_max_version"
        )


def refuse_unsupported(backend: TlsBackend, parameters: TlsParameters) -> None:
    """Check that a backend can do what the parameters require.

    Raises:
        ConfigError: It cannot; the error names the first thing.
    """
    for lack in lacks(parameters, backend.capabilities):
        raise ConfigError(
            f"the {backend.name} backend cannot {lack.what}",
            remedy=f"Use another tls_backend (`babar-tls backends` shows what each can do), or {lack.options}.",
        )
