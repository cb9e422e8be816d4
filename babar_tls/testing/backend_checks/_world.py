"""The certificates, keys and files that checks share: made when first asked for, gone with the folder."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from babar_tls.testing._wire import server_context
from babar_tls.testing.backend_checks._pair import NAME, only
from babar_tls.testing.certificates import CertificateAuthority, ServerCertificate

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

__all__ = ["World"]


class World:
    """One authority that is trusted, and what belongs to it.

    Args:
        folder: Where files are put.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._count = 0

    @cached_property
    def authority(self) -> CertificateAuthority:
        """The authority whose root is trusted."""
        return CertificateAuthority()

    @cached_property
    def root_path(self) -> str:
        """The file of the trusted root."""
        return self.put("root.crt", self.authority.certificate_pem)

    @cached_property
    def certificate(self) -> ServerCertificate:
        """A good certificate."""
        return self.authority.issue(NAME, "127.0.0.1", "::1")

    @cached_property
    def clients(self) -> CertificateAuthority:
        """The authority that signs clients' certificates."""
        return CertificateAuthority()

    @cached_property
    def client(self) -> ServerCertificate:
        """A good client's certificate."""
        return self.clients.issue(usage="client", common_name="app", key="rsa2048")

    def context(self, version: str | None) -> ssl.SSLContext:
        """A server's context with the good certificate; of one version of TLS, or of all."""
        with self._lock:
            if version not in self._contexts:
                limits = only(version) if version is not None else {}
                self._contexts[version] = server_context(self.certificate, **limits)
            return self._contexts[version]

    def put(self, name: str, data: bytes, mode: int = 0o600) -> str:
        """Writes a file; returns its path."""
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(mode)
        return str(path)

    def new_folder(self) -> Path:
        """A folder of its own for a check."""
        with self._lock:
            self._count += 1
            folder = self.folder / f"check{self._count}"
        folder.mkdir()
        return folder
