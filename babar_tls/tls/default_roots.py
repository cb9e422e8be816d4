"""Which roots a machine trusts by default, and where that is written down.

Python's and cryptography's wheels carry an OpenSSL whose compiled-in paths may be empty on the machine they run on,
so the look-up goes on where OpenSSL's own would end: the environment, OpenSSL's paths, the bundles of the common
distributions, certifi if it is installed. Every backend gets the same answer.
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
    """Where the default roots are: a bundle, a hashed directory, or both; and who said so."""

    cafile: str | None
    capath: str | None
    source: str

    @classmethod
    def from_environment(cls) -> DefaultRoots | None:
        """Return those that the environment names, `None` if it names none."""
        cafile, capath = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        return cls(cafile or None, capath or None, _ENVIRONMENT) if cafile or capath else None

    @property
    def is_environment(self) -> bool:
        """The environment variables SSL_CERT_FILE and SSL_CERT_DIR name them."""
        return self.source == _ENVIRONMENT

    @property
    def folders(self) -> tuple[str, ...]:
        """The hashed directories; like OpenSSL, several may be named."""
        return tuple(filter(None, self.capath.split(os.pathsep))) if self.capath is not None else ()


def default_roots() -> DefaultRoots:
    """Find the machine's default roots.

    Raises:
        ConfigError: There are none.
    """
    named = DefaultRoots.from_environment()
    if named is not None:  # as OpenSSL itself: the environment goes before everything
        return named
    import ssl  # noqa: PLC0415 - only the paths that are compiled into OpenSSL are needed

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
            "this machine has no trusted roots that OpenSSL can find",
            remedy="Install ca-certificates (or pip install certifi), set SSL_CERT_FILE, or give tls_root_cert_path.",
        ) from None
    return DefaultRoots(certifi.where(), None, "certifi")


def roots_for(parameters: TlsParameters) -> DefaultRoots | None:
    """The default roots that `parameters` ask for; `None` where there are none and others were given.

    Raises:
        ConfigError: There is nothing to verify the server with.
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
    """The files and hashed directories that a context of these parameters is made from, for `ContextCache`."""
    if not parameters.is_verified:
        return ()
    try:
        roots = roots_for(parameters)
    except ConfigError:
        roots = None  # Windows has a store in place of files; elsewhere, making the context says what is wrong
    if roots is None:
        return (parameters.root_cert_path,)
    return parameters.root_cert_path, roots.cafile, *roots.folders
