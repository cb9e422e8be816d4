"""Problems of a configuration on this machine, found without a connection: a missing TLS backend, feature or file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..backends import get_backend
from ..config.enums import ChannelBinding, TlsMode, TlsVerify
from ..conninfo.paths import exists
from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError, Error
from ..protocol.channel_binding import DEFAULT_TYPE
from ..tls.material import TlsMaterial
from ..tls.support import Lack, lacks
from .weaknesses import has_tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..backends import Capabilities
    from ..config import Config

_OTHER_BACKEND = "Use another TLS backend (see: babar-tls backends)."


class Problem(NamedTuple):
    """A problem, described for users, and how to solve it."""

    text: str
    remedy: str | None


@clears_locals
def find_problems(config: Config, *, only_roots: bool = False) -> list[Problem]:
    """Return the problems because of which every connection with TLS fails.

    No callable is called, and no token is used.

    Args:
        config: The configuration.
        only_roots: Another library connects, which needs the root file, but not this library's backends.
    """
    if not has_tls(config):
        return []
    found = _find_missing_roots(config) if only_roots else _find(config)
    what = "Every connect" if is_fatal(config) else "Every connection with TLS"
    return [Problem(f"{what} will fail: {error.message}.", error.remedy) for error in found]


def is_fatal(config: Config) -> bool:
    """Return True if every connection uses TLS: a problem of TLS then makes every connect fail."""
    return config.tls_mode is TlsMode.REQUIRE and not any(host.is_unix_socket for host in config.targets)


def find_lacks(config: Config, capabilities: Capabilities) -> Iterator[Lack]:
    """Yield the features that the configuration requires and the backend does not support."""
    yield from lacks(config.tls_parameters, capabilities)
    unproven = config.tls_verify is TlsVerify.NONE and not capabilities.unverified_proven
    if config.tls_pins and unproven:
        yield Lack("pin a server that it does not verify", _OTHER_BACKEND)
    if config.channel_binding is ChannelBinding.REQUIRE:
        binding = config.channel_binding_type or DEFAULT_TYPE
        if binding not in capabilities.channel_bindings:
            yield Lack(f"bind the channel with {binding}", _OTHER_BACKEND)
        elif binding == "tls-server-end-point" and unproven:
            yield Lack("bind the channel to a server that it does not verify", _OTHER_BACKEND)


def _find(config: Config) -> Iterator[Error]:
    system_store = True
    try:
        backend = get_backend(config.tls_backend)
        system_store = backend.capabilities.system_store
        for lack in find_lacks(config, backend.capabilities):
            yield ConfigError(f"the {backend.name} backend cannot {lack.what}", remedy=lack.remedy)
    except Error as error:
        yield error
    material = TlsMaterial(config.tls_parameters, system_store=system_store)
    reads: list[Callable[[], object]] = [lambda: material.roots, lambda: material.revocation_lists]
    source = config.tls_parameters.client_certificate
    if source is not None and not callable(source.password) and not source.is_in_token:
        reads.append(lambda: material.identity)
    for read in reads:
        try:
            read()
        except Error as error:
            yield error


def _find_missing_roots(config: Config) -> Iterator[Error]:
    path = config.tls_root_cert_path
    if config.tls_verify is not TlsVerify.NONE and path is not None and not exists(Path(path)):
        try:
            TlsMaterial(config.tls_parameters, system_store=True).roots  # noqa: B018 - reads the file
        except ConfigError as error:
            yield error
