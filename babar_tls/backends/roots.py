"""Which roots a machine trusts by default, and where that is written down.

Python's and cryptography's wheels carry an OpenSSL whose compiled-in paths may be empty on the machine they run on,
so the look-up goes on where OpenSSL's own would end: the environment, OpenSSL's paths, the bundles of the common
distributions, certifi if it is installed. Every engine is given the same answer.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import TlsVerify
from ..errors import ConfigError
from ..files import read_regular
from .base import TrustedRoots
from .pem import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .base import TlsParameters

_DISTRIBUTION_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
    "/usr/local/share/certs/ca-root-nss.crt",  # FreeBSD
)

#: Bytes that a file of roots may have.
MAX_FILE = 1 << 26
_HASHED = re.compile(r"[0-9a-fA-F]{8}\.[0-9]+")


@dataclass(frozen=True)
class DefaultRoots:
    """Where the default roots are: a bundle, a hashed directory, or both; and who said so."""

    cafile: str | None
    capath: str | None
    source: str

    @property
    def folders(self) -> tuple[str, ...]:
        """The hashed directories; like OpenSSL, several may be named."""
        return tuple(filter(None, self.capath.split(os.pathsep))) if self.capath is not None else ()


def default_roots() -> DefaultRoots:
    """Find the machine's default roots.

    Raises:
        ConfigError: There are none.
    """
    cafile, capath = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if cafile or capath:  # as OpenSSL itself: the environment goes before everything
        return DefaultRoots(cafile or None, capath or None, "SSL_CERT_FILE, SSL_CERT_DIR")
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
    if parameters.verify is TlsVerify.NONE:
        return ()
    try:
        roots = roots_for(parameters)
    except ConfigError:
        roots = None  # Windows has a store in place of files; elsewhere, making the context says what is wrong
    if roots is None:
        return (parameters.root_cert_path,)
    return parameters.root_cert_path, roots.cafile, *roots.folders


def check_root_file(path: str) -> None:
    """Refuse a root file that is not there before an engine says so in its own way.

    Raises:
        ConfigError: It does not exist or cannot be read.
    """
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):  # noqa: PTH116 - with open, a wait for whoever writes to it
            raise ConfigError(f'could not read root certificate file "{path}": it is a pipe', remedy="Name a file.")
        Path(path).open("rb").close()
    except FileNotFoundError:
        raise ConfigError(
            f'root certificate file "{path}" does not exist',
            remedy="Provide the file, use the system's trusted roots with sslrootcert=system, or change sslmode to "
            "disable server certificate verification.",
        ) from None
    except OSError as exc:
        raise ConfigError(f'could not read root certificate file "{path}": {exc.strerror}') from exc


def unusable_root_file(path: str, why: str) -> ConfigError:
    """The error for a root file that holds no certificate; `why` is OpenSSL's reason, in either of its spellings."""
    why = why.lower().replace("_", " ")
    return ConfigError(
        f'could not read root certificate file "{path}": {"damaged PEM" if "pem lib" in why else why}',
        remedy="It must hold certificates in PEM.",
    )


def hashed_files(folder: str) -> list[str]:
    """The files of a hashed directory (``openssl rehash``), in order; none where it cannot be read."""
    try:
        return [str(item) for item in sorted(Path(folder).iterdir()) if _HASHED.fullmatch(item.name)]
    except OSError:
        return []


def refuse_os_roots(parameters: TlsParameters) -> None:
    """For an engine that knows files alone.

    Raises:
        ConfigError: The operating system's verifier is to verify.
    """
    if parameters.os_roots and parameters.default_roots and parameters.verify is not TlsVerify.NONE:
        raise ConfigError(
            "the operating system's verifier (truststore) works with the standard library's ssl alone",
            remedy="Use tls_backend='stdlib', or leave out tls_os_roots.",
        )


def trusted_roots(parameters: TlsParameters) -> TrustedRoots | None:
    """What a context of these parameters verifies with; to be asked when it is made. `None` if it verifies nothing."""
    if parameters.verify is TlsVerify.NONE:
        return None
    sources: list[str] = []
    found: set[bytes] = set()
    counted = True
    if parameters.root_cert_path is not None:
        sources.append(parameters.root_cert_path)
        found.update(_certificates(parameters.root_cert_path))
    if parameters.default_roots and parameters.os_roots:
        sources.append("truststore")
        counted = False
    elif parameters.default_roots and sys.platform == "win32":
        sources.append("the system's certificate store")
        counted = False
    else:
        roots = roots_for(parameters)
        if roots is not None:
            places = [place for place in (roots.cafile, *roots.folders) if place]
            sources += [f"{place} ({roots.source})" for place in places]
            for place in places:
                found.update(_certificates(place))
    return TrustedRoots(tuple(sources), len(found) if counted else None)


def _certificates(place: str) -> Iterator[bytes]:
    """The certificates in a file, or in the files of a hashed directory (``openssl rehash``)."""
    for file in hashed_files(place) if Path(place).is_dir() else [place]:
        try:
            content, _ = read_regular(file, MAX_FILE)
        except (OSError, ValueError):
            continue
        for block in blocks(content, "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"):
            yield b"".join(block.body.split())
