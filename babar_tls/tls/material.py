"""Read the certificates, revocation lists and keys of a context from their files, for any TLS library."""

from __future__ import annotations

import math
import time
from functools import cached_property
from typing import TYPE_CHECKING

from .client_identity import load_identity
from .crl import revocation_lists, unusable_list
from .pem_files import load_with_openssl
from .root_files import read_roots, unusable_root_file
from .token_identity import load_token_identity
from .trust import Trust, load_roots

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import ConfigError
    from ..x509.certificate import Certificate
    from .client_identity import Identity
    from .parameters import TlsParameters
    from .pem_files import FileBlock
    from .root_files import Roots
    from .token_identity import TokenIdentity


class TlsMaterial:
    """The contents of the files of one context. Each part is read from its files when it is first used.

    TLS libraries receive contents and not paths. Therefore they all reject the same files.

    Args:
        parameters: The parameters that name the files.
        system_store: The TLS library itself loads the certificate store of the operating system (Windows).

    Attributes:
        valid_until: The time in seconds since 1970 after which the context must be built again, or `None`.
        trust: The trusted certificates, if the backend has called `trust_anchors`.
        barred: The anchors that may not sign other certificates.
    """

    def __init__(self, parameters: TlsParameters, *, system_store: bool) -> None:
        self._parameters = parameters
        self._system_store = system_store
        self.valid_until: float | None = None
        self.trust: Trust | None = None
        self.barred: tuple[Certificate, ...] = ()

    @cached_property
    def roots(self) -> Roots:
        """The certificates to trust; empty if the server is not verified.

        Raises:
            ConfigError: A file is missing, unreadable, not a regular file or damaged, or there are no certificates.
        """
        return read_roots(self._parameters, system_store=self._system_store)

    @cached_property
    def revocation_lists(self) -> list[FileBlock]:
        """The revocation lists that the parameters name. If there are none, every certificate is rejected.

        Raises:
            ConfigError: A file is missing, unreadable or damaged, or does not contain a list.
        """
        return revocation_lists(self._parameters)

    @property
    def identity(self) -> Identity | None:
        """The client certificate and its key, or `None`. It is read at each access and not kept in memory.

        Raises:
            ConfigError: A file is missing, unreadable, accessible to others or damaged, or a password is missing. The
                key is in a token (`token_identity`).
        """
        source = self._parameters.client_certificate
        return load_identity(source) if source is not None else None

    @property
    def token_identity(self) -> TokenIdentity | None:
        """The client certificate whose key is in a PKCS #11 token, or `None`. For backends with that capability.

        Raises:
            ConfigError: The certificate's file is missing, unreadable or damaged.
        """
        source = self._parameters.client_certificate
        return load_token_identity(source) if source is not None else None

    def trust_anchors(self, library: str, *, with_intermediates: bool = False) -> tuple[Certificate, ...]:
        """Return the anchors for a library that uses only the name and the key of an anchor, such as webpki.

        The result is correct until `valid_until`.

        Args:
            library: The name of the library, for messages.
            with_intermediates: Add intermediates whose issuer has the name of an anchor. Use it only for a library that
                verifies their signatures. A library that ends a chain at one would trust forged intermediates.

        Raises:
            ConfigError: A certificate is damaged, or has trust settings.
        """
        self.trust = Trust(load_roots(self.roots, library))
        anchors, until = self.trust.anchors(time.time())
        if not with_intermediates:
            anchors = tuple(anchor for anchor in anchors if anchor.is_self_signed)
        self.valid_until = until if until < math.inf else None
        self.barred = tuple(anchor for anchor in anchors if not anchor.may_sign)
        return anchors

    def unusable_root(self, root: FileBlock) -> ConfigError:
        """Return the error for one of `roots` that the TLS library cannot read."""
        return unusable_root_file(root.path, f"damaged certificate, line {root.line}")

    def load_into_openssl(self, load: Callable[[str], None]) -> None:
        """Load the trusted certificates and the revocation lists.

        Args:
            load: A function that loads a PEM file, and raises `ValueError` with OpenSSL's reason.

        Raises:
            ConfigError: OpenSSL cannot read one of them. The error names its file and line.
        """
        load_with_openssl((*self.roots.certificates, *self.roots.lists), load, unusable_root_file)
        load_with_openssl(self.revocation_lists, load, unusable_list)
