"""Read the trusted certificates of a context from their files.

TLS libraries receive the contents and not the paths. They therefore all reject the same files, and never read a device
or a pipe. `TrustedRoots` describes the certificates that are in use, even if the files change later.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .default_roots import DefaultRoots, roots_for
from .parameters import TrustedRoots
from .pem_files import FileBlock, hashed_paths, read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .parameters import TlsParameters


_CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
_LIST = "X509 CRL"
_DER = b"\x30"  # the tag of a SEQUENCE


@dataclass(frozen=True, repr=False)
class Roots:
    """The trusted certificates of a context.

    Attributes:
        certificates: The certificates, in order, without duplicates.
        lists: The certificate revocation lists in the same files. OpenSSL uses them too.
        system_store: The store or the verifier of the operating system is used in addition.
        report: The origin and the number of the certificates; `None` if the server is not verified.
    """

    certificates: tuple[FileBlock, ...] = ()
    lists: tuple[FileBlock, ...] = ()
    system_store: bool = False
    report: TrustedRoots | None = None

    def without_trust_settings(self, library: str) -> tuple[FileBlock, ...]:
        """Return the certificates, for a TLS library that does not support TRUSTED CERTIFICATE.

        Raises:
            ConfigError: One of them is a TRUSTED CERTIFICATE. Its settings may reject it and must not be ignored.
        """
        for one in self.certificates:
            if one.label == "TRUSTED CERTIFICATE":
                raise unusable_root_file(
                    one.path,
                    f"{library} cannot apply the trust settings of the TRUSTED CERTIFICATE in line {one.line}",
                    f"Convert it to a CERTIFICATE (openssl x509 -in {one.path} -out NEW_FILE converts the first in a "
                    "file), or use tls_backend='stdlib' or 'openssl'.",
                )
        return self.certificates


def read_roots(parameters: TlsParameters, *, system_store: bool = True) -> Roots:
    """Read the trusted certificates of a context with these parameters.

    Args:
        parameters: The parameters that name the files.
        system_store: On Windows the TLS library itself loads the default roots from the system's store.

    Raises:
        ConfigError: A file is missing, unreadable, not a regular file or damaged, or there are no certificates.
    """
    if not parameters.is_verified:
        return Roots()
    sources: list[str] = []
    found: list[FileBlock] = []
    named = parameters.root_cert_path
    if named is not None:
        sources.append(named)
        found += _read_file(named)
    in_store = parameters.default_roots and (parameters.os_roots or (system_store and sys.platform == "win32"))
    defaults = None if in_store else roots_for(parameters)
    if in_store:
        sources.append("truststore" if parameters.os_roots else "the system's certificate store")
        _check_environment()
    elif defaults is not None:
        sources += [f"{place} ({defaults.source})" for place in (defaults.cafile, *defaults.folders) if place]
        found += _read_defaults(defaults, with_lists=parameters.wants_crls)
    different: dict[bytes, FileBlock] = {}
    for one in found:
        different.setdefault(one.der, one)
    certificates = tuple(one for one in different.values() if one.label != _LIST)
    if defaults is not None and not certificates:
        _require_folders(defaults)
    report = TrustedRoots(tuple(sources), None if in_store else len(certificates))
    lists = tuple(one for one in different.values() if one.label == _LIST)
    return Roots(certificates, lists, in_store, report)


def trusted_roots(parameters: TlsParameters) -> TrustedRoots | None:
    """Return the trusted roots of a context with these parameters; None if the server is not verified."""
    return read_roots(parameters).report


def unusable_root_file(path: str, why: str, remedy: str = "It must contain certificates in PEM.") -> ConfigError:
    """Return the error for a root file that cannot be used."""
    return ConfigError(f'could not read root certificate file "{path}": {why}', remedy=remedy)


def _read_defaults(defaults: DefaultRoots, *, with_lists: bool) -> Iterator[FileBlock]:
    variable = "SSL_CERT_FILE"
    try:
        if defaults.cafile is not None:
            yield from _read_file(defaults.cafile)
        variable = "SSL_CERT_DIR"
        for folder in defaults.folders:
            yield from _read_folder(folder, with_lists=with_lists)
    except ConfigError as exc:
        if defaults.is_environment:
            exc.remedy = (
                f"The environment variable {variable} names it. Correct the file, or change or unset the variable."
            )
        raise


def _read_file(path: str) -> list[FileBlock]:
    try:
        found, data = read_blocks(path, unusable_root_file, *_CERTIFICATES, _LIST)
    except FileNotFoundError:
        raise ConfigError(
            f'root certificate file "{path}" does not exist',
            remedy="Use the system's trusted roots with sslmode=verify-full sslrootcert=system, or provide the file.",
        ) from None
    if not any(one.label != _LIST for one in found):
        if data[:1] == _DER:
            remedy = f"Convert it: openssl x509 -inform DER -in {path} -out NEW_FILE"
            raise unusable_root_file(path, "it is DER, not PEM", remedy)
        raise unusable_root_file(path, "no certificate or crl found" if not found else "no certificate found")
    return found


def _read_folder(folder: str, *, with_lists: bool) -> Iterator[FileBlock]:
    """Yield the blocks of all files in a hashed directory. OpenSSL would read each file only when needed."""
    try:
        paths = hashed_paths(folder, "r?" if with_lists else "")
    except (OSError, ValueError):
        return  # see `_require_folders`
    for path in paths:
        labels = (_LIST,) if ".r" in path[len(folder) :] else _CERTIFICATES
        try:
            found, data = read_blocks(path, unusable_root_file, *labels)
        except FileNotFoundError:
            continue  # a dangling link: the certificate was removed
        if data and not found:
            raise unusable_root_file(path, "no certificate or crl found")
        yield from found


def _check_environment() -> None:
    """Check the files of SSL_CERT_FILE and SSL_CERT_DIR, which truststore loads on systems without a store."""
    if sys.platform not in ("win32", "darwin"):
        defaults = DefaultRoots.from_environment()
        if defaults is not None:
            list(_read_defaults(defaults, with_lists=False))


def _require_folders(defaults: DefaultRoots) -> None:
    """Raise an error for a directory that does not exist. It is called if no certificates were found."""
    for folder in defaults.folders:
        if not os.path.isdir(folder):  # noqa: PTH112 - Path raises if the name is too long
            raise ConfigError(
                f'root certificate directory "{folder}" does not exist',
                remedy="The environment variable SSL_CERT_DIR names it. Change or unset the variable."
                if defaults.is_environment
                else None,
            )
