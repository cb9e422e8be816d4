"""Cache the contexts of TLS libraries.

Building a context parses all trusted certificates: about 20 ms with the bundle of a distribution. The key of a context
consists of its backend, its `TlsParameters` and the stamps (`file_stamps`) of its files. The next
connection therefore uses the new content of a file that has changed.

A context is stored only if its files did not change while it was built. Otherwise it is built again, up to a limit. If
the files change each time, the last context is used for one connection and not stored, because it may have been built
from old and new files. Each file was read completely.

A hashed directory may contain hundreds of files. For a look-up they are stamped at most once a second, and when
the directory itself has changed. They are stamped again before a context is stored.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from stat import S_ISDIR
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError
from .algorithms import select, unknown_group
from .bounded_cache import BoundedCache
from .client_identity import identity_files
from .crl import revocation_files
from .default_roots import root_files
from .file_stamps import link_stamps, recorded_reads, stamp
from .hello import client_offer
from .key_log import prepare_key_log
from .material import TlsMaterial
from .pem_files import hashed_paths
from .support import refuse_unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..x509.certificate import Certificate
    from .contract import TlsBackend
    from .parameters import TlsParameters
    from .root_files import Roots
    from .trust import Trust


_CAPACITY = 64
_FOLDER_AGE = 1.0  # seconds
_ATTEMPTS = 3


class CachedContext(NamedTuple):
    """A context and its trusted certificates.

    Attributes:
        context: The result of `TlsBackend.create_context`.
        roots: The trusted certificates.
        trust: See `TlsMaterial.trust`.
        barred: See `TlsMaterial.barred`.
    """

    context: Any
    roots: Roots
    trust: Trust | None
    barred: tuple[Certificate, ...]


class _Folder(NamedTuple):
    """A hashed directory: the time of reading, its stamp, the stamps of its files, and a token for these in a key."""

    time: float
    own: Hashable
    files: tuple[Hashable, ...]
    token: object


class _Snapshot(NamedTuple):
    """The files of a context at one time.

    Attributes:
        key: The stamps that are part of the key of a context.
        stamps: The stamps of all files, including those in hashed directories.
        links: The stamps of the symbolic links that lead to them.
    """

    key: tuple[Hashable, ...]
    stamps: frozenset[Hashable]
    links: tuple[Hashable, ...]


class ContextCache:
    """A bounded cache of contexts. The least recently used context is removed first."""

    def __init__(self) -> None:
        self._contexts = BoundedCache[Hashable, CachedContext](_CAPACITY)
        self._folders = BoundedCache[str, _Folder](_CAPACITY)

    def get(self, backend: TlsBackend, parameters: TlsParameters) -> CachedContext:
        """Return the context for `parameters` with the present content of their files.

        Raises:
            ConfigError: A file is missing or unusable, or the backend does not support the parameters.
        """
        log = prepare_key_log(parameters.key_log_path) if backend.capabilities.key_log else None
        stamps = tuple([self._stamp(path, _FOLDER_AGE) for path in _files(parameters)])
        found = self._contexts.get((backend, parameters, log, stamps))
        if found is not None:
            return found
        refuse_unsupported(backend, parameters)
        for attempt in range(_ATTEMPTS):
            before = self._snapshot(parameters)
            with recorded_reads() as reads:
                try:
                    material = TlsMaterial(parameters, system_store=backend.capabilities.system_store)
                    found = _build(backend, parameters, material)
                except ConfigError:
                    source = parameters.client_certificate
                    if source is not None and source.is_in_token:
                        raise  # another attempt could be another wrong PIN, and a token is locked after a few
                    if attempt == _ATTEMPTS - 1 or self._snapshot(parameters) == before:
                        raise
                    continue
            # The files that were read are compared too, because a path may have led to another file for a moment.
            if self._snapshot(parameters) == before and reads <= before.stamps | {log}:
                self._contexts.put((backend, parameters, log, before.key), found, material.valid_until)
                break
        assert found is not None  # noqa: S101 - the last attempt raised otherwise
        return found

    def _snapshot(self, parameters: TlsParameters) -> _Snapshot:
        paths = _files(parameters)
        key = tuple(self._stamp(path, 0) for path in paths)
        folders = [self._folders.get(path) for path in paths]
        stamps = {*key, *(stamp for folder in folders if folder is not None for stamp in folder.files)}
        return _Snapshot(key, frozenset(stamps), tuple(link for path in paths for link in link_stamps(path)))

    def _stamp(self, path: str, age: float) -> Hashable:
        status = _status(path)
        if status is None:
            return path
        found = stamp(path, status)
        return (found, self._folder(path, found, age).token) if S_ISDIR(status.st_mode) else found

    def _folder(self, path: str, own: Hashable, age: float) -> _Folder:
        now = monotonic()
        known = self._folders.get(path)
        if known is not None and known.own == own and now - known.time < age:
            return known
        files = tuple(_hashed_files(path))
        token = known.token if known is not None and known.files == files else object()
        found = _Folder(now, own, files, token)
        self._folders.put(path, found)
        return found


def _files(parameters: TlsParameters) -> list[str]:
    """Return the files and the hashed directories from which a context with these parameters is built."""
    files = [path for path in root_files(parameters) if path is not None]
    if parameters.client_certificate is not None:
        files += identity_files(parameters.client_certificate)
    return [*files, *revocation_files(parameters)]


def _build(backend: TlsBackend, parameters: TlsParameters, material: TlsMaterial) -> CachedContext:
    context = backend.create_context(parameters, material)
    if parameters.groups:
        _check_groups(backend, parameters, context)
    return CachedContext(context, material.roots, material.trust, material.barred)


def _check_groups(backend: TlsBackend, parameters: TlsParameters, context: Any) -> None:
    """Check that a context that is restricted to some groups offers exactly these groups.

    Some TLS libraries accept the names of groups that they do not offer, or not in the allowed versions.
    """
    stream = backend.create_stream(context, None, lambda _: None)
    no_offer: tuple[type[Exception], ...] = (ValueError, *stream.library_errors)
    try:
        stream.do_handshake()
        offered = client_offer(stream.data_to_send()).groups
    except no_offer:
        offered = ()  # these versions support none of the groups
    finally:
        stream.close()
    if offered != select(parameters).groups:
        raise unknown_group(parameters.groups[0], backend.name)


def _hashed_files(folder: str) -> Iterator[Hashable]:
    """Yield the stamps of the files that may be read in a hashed directory."""
    try:
        paths = hashed_paths(folder)
    except OSError:
        return
    for path in paths:
        status = _status(path)
        yield path if status is None else stamp(path, status)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - Path is too slow for a look-up at each connect
    except (OSError, ValueError):
        return None


contexts = ContextCache()
