"""Read certificate revocation lists. Certificates in their files are ignored, and do not become trusted."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .pem_files import hashed_paths, read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .parameters import TlsParameters
    from .pem_files import FileBlock


_DER = b"\x30"  # the tag of a SEQUENCE


def revocation_lists(parameters: TlsParameters) -> list[FileBlock]:
    """Return the lists that `parameters` name. An empty directory has no list, so that every certificate is rejected.

    Raises:
        ConfigError: A file is missing, unreadable or damaged, or does not contain a list.
    """
    return [one for path in _paths(parameters) for one in _read(path)]


def revocation_files(parameters: TlsParameters) -> Iterator[str]:
    """Yield the paths of the files and the directory that `revocation_lists` reads."""
    if parameters.wants_crls and parameters.crl_dir is not None:
        yield parameters.crl_dir
    with suppress(ConfigError):  # creating the context raises the error
        yield from _paths(parameters)


def unusable_list(path: str, why: str, remedy: str | None = None) -> ConfigError:
    """Return the error for a file of revocation lists that cannot be used."""
    return ConfigError(
        f'could not read certificate revocation list file "{path}": {why}',
        remedy=remedy or "It must contain certificate revocation lists (X509 CRL) in PEM.",
    )


def _paths(parameters: TlsParameters) -> Iterator[str]:
    """Yield the paths of the files of revocation lists.

    Raises:
        ConfigError: The directory cannot be read.
    """
    if not parameters.wants_crls:
        return
    if parameters.crl_path is not None:
        yield parameters.crl_path
    folder = parameters.crl_dir
    if folder is None:
        return
    try:
        yield from hashed_paths(folder, "r")
    except FileNotFoundError:
        raise ConfigError(f'certificate revocation list directory "{folder}" does not exist') from None
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(f'could not read certificate revocation list directory "{folder}": {why}') from exc


def _read(path: str) -> list[FileBlock]:
    try:
        lists, data = read_blocks(path, unusable_list, "X509 CRL")
    except FileNotFoundError:
        raise ConfigError(
            f'certificate revocation list file "{path}" does not exist',
            remedy="Provide the file, or remove tls_crl_path (sslcrl).",
        ) from None
    if not lists and data[:1] == _DER:
        raise unusable_list(path, "it is DER, not PEM", f"Convert it: openssl crl -inform DER -in {path} -out NEW_FILE")
    if not lists:
        raise unusable_list(path, "no certificate revocation list found")
    return lists
