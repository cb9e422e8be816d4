"""The certificates, keys and files that checks share: made at first use, removed with their folder."""

from __future__ import annotations

import tempfile
from functools import cached_property, lru_cache
from pathlib import Path

from babar_tls.testing._tls_contexts import server_context
from babar_tls.testing.backend_checks._pair import NAME, TLS_VERSIONS, only
from babar_tls.testing.certificates import CertificateAuthority, ServerCertificate

#: `server_context` for the same arguments makes one context.
cached_context = lru_cache(maxsize=16)(server_context)


class Fixtures:
    """One trusted CA, certificates that it has issued, and files.

    Args:
        folder: The folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def authority(self) -> CertificateAuthority:
        """The CA whose root is trusted."""
        return CertificateAuthority()

    @cached_property
    def root_path(self) -> str:
        """The path of the trusted root's file."""
        return self.put("root.crt", self.authority.certificate_pem)

    @cached_property
    def certificate(self) -> ServerCertificate:
        """A valid certificate."""
        return self.authority.issue(NAME, "127.0.0.1", "::1")

    @cached_property
    def clients(self) -> CertificateAuthority:
        """The CA that issues client certificates."""
        return CertificateAuthority()

    @cached_property
    def client(self) -> ServerCertificate:
        """A valid client certificate."""
        return self.clients.issue(usage="client", common_name="app", key="rsa2048")

    def prepare(self) -> None:
        """Make what most checks use, before each check runs in its own process."""
        _ = self.root_path, self.client
        for options in ({}, *map(only, TLS_VERSIONS)):
            cached_context(self.certificate, **options)

    def put(self, name: str, data: bytes, mode: int = 0o600) -> str:
        """Write a file, and return its path."""
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(mode)
        return str(path)

    def new_folder(self) -> Path:
        """Return a new folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))
