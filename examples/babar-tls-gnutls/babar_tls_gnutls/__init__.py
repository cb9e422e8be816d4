"""GnuTLS as an engine of babar-tls: how one is written. The contract is `babar_tls.tls.contract`.

`GnuTlsBackend`, here, says what it can do, refuses the rest, and builds what connections share. `_stream.Stream` is one
connection. Files and names are the business of babar-tls's own modules, which any engine may use; `_library` is GnuTLS
itself, and knows nothing of babar-tls.
"""

from __future__ import annotations

from babar_tls.tls.context_files import context_files

from babar_tls.backends import Capabilities, TlsBackend, TlsParameters
from babar_tls.config import TlsVerify, TlsVersion
from babar_tls.errors import ConfigError
from babar_tls.tls.client_identity import KEY_FORMATS, load_identity
from babar_tls.tls.context_cache import ContextCache
from babar_tls.tls.root_files import read_roots, unusable_root_file

from . import _library as gnutls
from ._stream import Stream

__all__ = ["GnuTlsBackend"]


class GnuTlsBackend(TlsBackend):
    """TLS by GnuTLS."""

    name = "gnutls"

    def __init__(self) -> None:
        self._credentials = ContextCache(_credentials, context_files)  # made anew when a file behind them changes

    def capabilities(self) -> Capabilities:
        """What GnuTLS can do. What is not named here cannot be had, and `wrap` refuses it."""
        return Capabilities(
            version=f"GnuTLS {gnutls.text('check_version', None)}",
            tls_versions=tuple(TlsVersion),
            channel_bindings=("tls-server-end-point", "tls-exporter"),
            reports_group=True,
            reports_chain=True,
            common_names=True,
            client_keys=KEY_FORMATS,
            unverified_proven=True,
        )

    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> Stream:
        """Begin a client connection."""
        p = parameters
        # GnuTLS reads revocation lists too, but is content where one is missing: that is not what is asked for here.
        if p.crl_path or p.crl_dir or p.os_roots or p.key_log_path or p.groups or p.ciphers:
            raise ConfigError("the gnutls engine has no revocation lists, system roots, key log, groups or ciphers")
        if p.verify is TlsVerify.FULL and server_hostname is None:
            raise ConfigError("there is no host name to verify the server's certificate with")
        return Stream(self._credentials.get(p), p, server_hostname)


def _credentials(parameters: TlsParameters) -> gnutls.Credentials:
    """What connections with these parameters share. Every file that cannot be used is a ConfigError that names it."""
    credentials = gnutls.Credentials()
    for root in read_roots(parameters, windows_store=False).without_trust_settings("GnuTLS"):
        if credentials.trust(root.der) <= 0:
            raise unusable_root_file(root.path, f"damaged certificate, line {root.line}")
    if parameters.client_certificate is not None:
        identity = load_identity(parameters.client_certificate)
        code = credentials.use_key(identity.chain, identity.key, identity.password)
        if code < 0:
            raise identity.unusable("mismatch" if code == gnutls.KEY_MISMATCH else gnutls.text("strerror", code))
    return credentials
