"""Find the certificates that a machine trusts by default.

The wheels of Python and cryptography contain an OpenSSL whose compiled-in paths may not exist on this machine. The
search is therefore longer than OpenSSL's: the environment, the paths of OpenSSL, the bundles of common distributions,
and certifi if it is installed. The result is the same for every backend.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from .parameters import TlsParameters

_ENVIRONMENT = "SSL_CERT_FILE, SSL_CERT_DIR"
_DISTRIBUTION_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
    "/usr/local/share/certs/ca-root-nss.crt",  # FreeBSD
)


@dataclass(frozen=True)
class DefaultRoots:
    """The location of the default roots (a bundle, hashed directories, or both), and the source of the location."""

    cafile: str | None
    capath: str | None
    source: str

    @classmethod
    def from_environment(cls) -> DefaultRoots | None:
        """Return the roots that the environment variables name, or None if these are not set."""
        cafile, capath = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        return cls(cafile or None, capath or None, _ENVIRONMENT) if cafile or capath else None

    @property
    def is_environment(self) -> bool:
        """True if SSL_CERT_FILE or SSL_CERT_DIR names the roots."""
        return self.source == _ENVIRONMENT

    @property
    def folders(self) -> tuple[str, ...]:
        """The hashed directories. As in OpenSSL, there may be several."""
        return tuple(filter(None, self.capath.split(os.pathsep))) if self.capath is not None else ()


def default_roots() -> DefaultRoots:
    """Find the machine's default roots.

    Raises:
        ConfigError: The machine has no default roots.
    """
    named = DefaultRoots.from_environment()
    if named is not None:  # as in OpenSSL, environment variables have precedence
        return named
    import ssl  # noqa: PLC0415 - only for the paths that are compiled into OpenSSL

    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return DefaultRoots(paths.cafile, None, "OpenSSL")
    for bundle in _DISTRIBUTION_BUNDLES:
        if Path(bundle).is_file():
            return DefaultRoots(bundle, None, "distribution")
    if paths.capath and any(Path(paths.capath).glob("*.0")):
        return DefaultRoots(None, paths.capath, "OpenSSL")
    try:
        import certifi  # noqa: PLC0415 - optional
    except ImportError:
        raise ConfigError(
            "no default trusted root certificates were found on this machine",
            remedy="Install ca-certificates (or pip install certifi), or set SSL_CERT_FILE or tls_root_cert_path.",
        ) from None
    return DefaultRoots(certifi.where(), None, "certifi")


def roots_for(parameters: TlsParameters) -> DefaultRoots | None:
    """Return the default roots if `parameters` use them. Return None if they are missing but not required.

    Raises:
        ConfigError: No certificates are available to verify the server.
    """
    if not parameters.default_roots:
        return None
    try:
        return default_roots()
    except ConfigError:
        if parameters.root_cert_path is None:
            raise
        return None


def root_files(parameters: TlsParameters) -> tuple[str | None, ...]:
    """Return the root files and hashed directories from which a context with these parameters is built."""
    if not parameters.is_verified:
        return ()
    try:
        roots = roots_for(parameters)
    except ConfigError:
        roots = None  # Windows has a store instead; on other systems, creating the context raises the error
    if roots is None:
        return (parameters.root_cert_path,)
    return parameters.root_cert_path, roots.cafile, *roots.folders
