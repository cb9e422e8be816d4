"""Contexts of TLS libraries by what they were made from.

Building a context reads and parses every root, some 20 ms with a distribution's bundle; a connection needs it in
microseconds. A context is found again by its backend, its `TlsParameters` and the stamps (`file_stamps`) of the files
behind it, so that a rotated file is noticed at the next connection.

A context is stored only if its files were the same before and after it was built, and while it was. Otherwise it is
built again, a few times at most. If the files do not come to rest, the last context serves one connection and is not
stored: it may be made of old and new files, each of which was read whole.

A hashed directory may contain hundreds of files. To find a context they are stamped at most once a second, and when the
directory itself has changed; to store one they are stamped again.
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
    """A context and what it trusts.

    Attributes:
        context: What the backend made.
        roots: The certificates that it trusts.
        trust: See `TlsMaterial.trust`.
        barred: See `TlsMaterial.barred`.
    """

    context: Any
    roots: Roots
    trust: Trust | None
    barred: tuple[Certificate, ...]


class _Folder(NamedTuple):
    """What is in a directory: when it was read, its own stamp, its files' stamps, and what stands for them in a key."""

    time: float
    own: Hashable
    files: tuple[Hashable, ...]
    token: object


class _Look(NamedTuple):
    """The files of a context as they were at one moment.

    Attributes:
        key: What stands for them in the key of a context.
        stamps: Every file's stamp, those in hashed directories included.
        links: The stamps of the symbolic links that lead to them.
    """

    key: tuple[Hashable, ...]
    stamps: frozenset[Hashable]
    links: tuple[Hashable, ...]


class ContextCache:
    """A bounded cache of contexts; the least recently used context is removed first."""

    def __init__(self) -> None:
        self._contexts = BoundedCache[Hashable, CachedContext](_CAPACITY)
        self._folders = BoundedCache[str, _Folder](_CAPACITY)

    def get(self, backend: TlsBackend, parameters: TlsParameters) -> CachedContext:
        """Return the context for `parameters` as their files are now.

        Raises:
            ConfigError: A file is missing or unusable, or the backend cannot do what the parameters require.
        """
        log = prepare_key_log(parameters.key_log_path) if backend.capabilities.key_log else None
        stamps = tuple([self._stamp(path, _FOLDER_AGE) for path in _files(parameters)])
        found = self._contexts.get((backend, parameters, log, stamps))
        if found is not None:
            return found
        refuse_unsupported(backend, parameters)
        for attempt in range(_ATTEMPTS):
            before = self._look(parameters)
            with recorded_reads() as reads:
                try:
                    material = TlsMaterial(parameters, system_store=backend.capabilities.system_store)
                    found = _build(backend, parameters, material)
                except ConfigError:
                    if attempt == _ATTEMPTS - 1 or self._look(parameters) == before:
                        raise
                    continue
            # What was read is compared too: a path may have led elsewhere in between, and back.
            if self._look(parameters) == before and reads <= before.stamps | {log}:
                self._contexts.put((backend, parameters, log, before.key), found, material.valid_until)
                break
        assert found is not None  # noqa: S101 - the last attempt raised otherwise
        return found

    def _look(self, parameters: TlsParameters) -> _Look:
        paths = _files(parameters)
        key = tuple(self._stamp(path, 0) for path in paths)
        folders = [self._folders.get(path) for path in paths]
        stamps = {*key, *(stamp for folder in folders if folder is not None for stamp in folder.files)}
        return _Look(key, frozenset(stamps), tuple(link for path in paths for link in link_stamps(path)))

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
    """Return the files, and the hashed directories, that a context of these parameters is made from."""
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
    """Check that a context which is restricted to some groups offers exactly these.

    TLS libraries accept names of groups that they do not offer then, or not in the versions that are allowed.
    """
    stream = backend.create_stream(context, None, lambda _: None)
    no_offer: tuple[type[Exception], ...] = (ValueError, *stream.library_errors)
    try:
        stream.do_handshake()
        offered = client_offer(stream.data_to_send()).groups
    except no_offer:
        offered = ()  # no group can be used with these versions
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
        return os.stat(path)  # noqa: PTH116 - Path would cost more than the look-up saves
    except (OSError, ValueError):
        return None


contexts = ContextCache()
