"""The registry of TLS backends: names, entry points, lazy imports.

A backend is imported when it is first used. A missing backend is an error only then. Other packages add backends to the
entry point group ``babar_tls.backends``. The built-in backends need no metadata, so that they are also available in a
checkout that is not installed.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from ..config.enums import TlsVerify
from ..diagnostics.escaping import visible
from ..errors import BackendUnavailable, Error
from .connection import first_offer
from .contract import Capabilities, TlsBackend
from .parameters import TlsParameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from .hello import ClientOffer

__all__ = ["available_backends", "backend_names"]

#: The group of entry points in which other packages register backends.
ENTRY_POINT_GROUP = "babar_tls.backends"


#: The classes of the backends in `babar_tls.backends`, and the remedy if one cannot be imported.
_BUILT_IN = {
    "stdlib": ("StdlibBackend", "Use a Python that was built with OpenSSL."),
    "openssl": ("OpenSslBackend", "pip install 'babar-tls[openssl]'"),
    "rustls": ("RustlsBackend", "pip install 'babar-tls[rustls]'"),
}

_instances: dict[str, TlsBackend] = {}


class BackendStatus(NamedTuple):
    """The capabilities of a backend and its offer to servers, or the error if it cannot be used.

    Attributes:
        name: The name of the backend.
        capabilities: The features that it supports; `None` if it cannot be used.
        problem: The error; `None` if it can be used.
        offer: The offer in its first flight; `None` if it cannot be used, or the offer cannot be read.
    """

    name: str
    capabilities: Capabilities | None
    problem: BackendUnavailable | None
    offer: ClientOffer | None = None


def get_backend(backend: str | TlsBackend) -> TlsBackend:
    """Return the backend with this name, the same object each time. Return a `TlsBackend` unchanged.

    Raises:
        BackendUnavailable: No backend has this name, or its package is not installed.
    """
    if isinstance(backend, TlsBackend):
        return backend
    instance = _instances.get(backend)
    # Two threads may both create an instance; setdefault returns the first to both.
    return instance if instance is not None else _instances.setdefault(backend, _load(backend))


def backend_names() -> tuple[str, ...]:
    """Return the names of all known backends, installed or not."""
    return tuple(dict.fromkeys([*_BUILT_IN, *sorted(_entry_points())]))


def available_backends() -> tuple[str, ...]:
    """Import all known backends, and return the names of those that can be used."""
    return tuple(status.name for status in backend_status() if status.problem is None)


def backend_status() -> list[BackendStatus]:
    """Import all known backends, and return the capabilities or the error of each."""
    statuses = []
    for name in backend_names():
        try:
            backend = get_backend(name)
            statuses.append(BackendStatus(name, backend.capabilities, None, offer_of(backend)))
        except BackendUnavailable as exc:
            statuses.append(BackendStatus(name, None, exc))
    return statuses


@lru_cache(maxsize=256)
def offer_of(backend: TlsBackend, *groups: str) -> ClientOffer | None:
    """Return the offer in the first flight of a backend, or None if it cannot be read.

    Args:
        backend: The backend.
        groups: The key-exchange groups to offer; empty for the default of the backend.
    """
    try:
        return first_offer(backend, TlsParameters(verify=TlsVerify.NONE, groups=groups))
    except Error:
        return None


def _load(name: str) -> TlsBackend:
    class_name, remedy = _BUILT_IN.get(
        name, ("", f"Update or remove the package that adds it to the entry point group {ENTRY_POINT_GROUP!r}.")
    )
    entry_point = None if class_name else _entry_points().get(name)
    if not class_name and entry_point is None:
        raise BackendUnavailable(
            f"unknown TLS backend {visible(repr(name), limit=200)}",
            remedy=f"Known backends: {', '.join(backend_names())}. Install the package of any other backend.",
        )
    try:
        if entry_point is not None:
            backend = entry_point()()
        else:
            backend = getattr(import_module(f"babar_tls.backends.{name}"), class_name)()
        if not isinstance(backend, TlsBackend):
            raise TypeError(f"it is a {type(backend).__name__}, not a TlsBackend")
    except (
        ImportError,
        AttributeError,
        TypeError,
    ) as exc:  # the module or class is missing or incomplete
        raise BackendUnavailable(f"TLS backend {name!r} cannot be used: {exc}", remedy=remedy) from exc
    return backend


def _entry_points() -> dict[str, Callable[[], Callable[[], object]]]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, and rarely needed

    return {point.name: point.load for point in entry_points(group=ENTRY_POINT_GROUP) if point.name not in _BUILT_IN}
