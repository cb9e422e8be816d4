"""Every file that a context is made from, whichever engine makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .client_identity import identity_files
from .crl import revocation_files
from .default_roots import root_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .contract import TlsParameters

__all__ = ["context_files"]


def context_files(parameters: TlsParameters) -> Iterator[str | None]:
    """The files that a context of these parameters is made from, for `ContextCache`."""
    yield from root_files(parameters)
    yield from identity_files(parameters.client_certificate)
    yield from revocation_files(parameters)
