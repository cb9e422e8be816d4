"""Every fault of a client certificate or key file has a specific error before data is sent, with libpq's text."""

from __future__ import annotations

import dataclasses
import os
import stat
from typing import TYPE_CHECKING

import pytest

from babar_tls import ConfigError
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.testing import CertificateAuthority, ServerCertificate
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.parameters import ClientCertificate

from .test_client_certificates import NAME, put, refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")


def _mkfifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


#: The content of the key file, and the error without the path.
BAD_KEYS: dict[str, tuple[Callable[[Path, ServerCertificate], object], str]] = {
    "missing": (lambda path, _: None, 'certificate present, but not private key file "{}"'),
    "a directory": (lambda path, _: path.mkdir(), 'private key file "{}" is not a regular file'),
    "a pipe": (lambda path, _: _mkfifo(path), 'private key file "{}" is not a regular file'),
    "empty": (lambda path, _: put(path, b""), 'could not load private key file "{}": no private key found'),
    "garbage": (
        lambda path, _: put(path, b"\0\xff" * 99),
        'could not load private key file "{}": no private key found',
    ),
    "a certificate": (
        lambda path, c: put(path, c.certificate_pem),
        'could not load private key file "{}": no private key found',
    ),
    "OpenSSH's": (
        lambda path, _: put(path, b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"),
        'could not load private key file "{}": it is in the format of OpenSSH',
    ),
    "damaged": (
        lambda path, c: put(path, c.private_key_pem.replace(b"\nMII", b"\n!MII")),
        'could not load private key file "{}": damaged PEM, line 1: the PRIVATE KEY is not Base64',
    ),
    "another's": (
        lambda path, _: put(path, CertificateAuthority().issue("x", key="rsa2048").private_key_pem),
        'could not load private key file "{}": key values mismatch',
    ),
    "another's, of another kind": (
        lambda path, _: put(path, CertificateAuthority().issue("x").private_key_pem),
        'could not load private key file "{}": key values mismatch',
    ),
    "readable by the world": (
        lambda path, c: put(path, c.private_key_pem, 0o644),
        'private key file "{}" has group or world access; file must have permissions u=rw (0600) or less if owned by '
        "the current user, or permissions u=rw,g=r (0640) or less if owned by root",
    ),
}


@pytest.mark.parametrize("fault", BAD_KEYS)
def test_unusable_key_is_a_configuration_error_with_the_text_of_libpq(
    backend: str, fault: str, parameters: TlsParameters, client: ServerCertificate, tmp_path: Path
) -> None:
    path = tmp_path / "c.key"
    make, text = BAD_KEYS[fault]
    make(path, client)
    error = refused(backend, parameters, certificate=client.certificate_pem, key=str(path))
    assert error.message == text.format(path)


#: The owner of a key file (root or not), its mode, and whether it is accepted.
MODES = [
    (True, 0o600, True),
    (True, 0o400, True),
    (True, 0o640, True),
    (True, 0o660, False),
    (True, 0o650, False),
    (True, 0o644, False),
    (True, 0o601, False),
    (False, 0o600, True),
    (False, 0o640, False),
    (False, 0o620, False),
    (False, 0o604, False),
]


@pytest.mark.parametrize(("root", "mode", "good"), MODES)
def test_key_file_that_others_can_read_is_refused(
    *,
    backend: str,
    root: bool,
    mode: int,
    good: bool,
    parameters: TlsParameters,
    client: ServerCertificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A group may read a key file that belongs to root."""
    path = put(tmp_path / "c.key", client.private_key_pem, mode)
    genuine = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = genuine(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return status
        return os.stat_result([*status[:4], 0 if root else 1000, *status[5:10]])

    monkeypatch.setattr(os, "fstat", fstat)
    source = ClientCertificate(certificate=client.certificate_pem, key=path)
    chosen = dataclasses.replace(parameters, client_certificate=source)
    if good:
        TlsConnection(get_backend(backend), chosen, NAME)
        return
    with pytest.raises(ConfigError, match="has group or world access"):
        TlsConnection(get_backend(backend), chosen, NAME)


BAD_CERTIFICATES: dict[str, tuple[Callable[[Path, ServerCertificate], object], str]] = {
    "missing": (lambda path, _: None, 'certificate file "{}" does not exist'),
    "a directory": (lambda path, _: path.mkdir(), 'could not read certificate file "{}": it is not a regular file'),
    "a pipe": (lambda path, _: _mkfifo(path), 'could not read certificate file "{}": it is not a regular file'),
    "empty": (lambda path, _: put(path, b""), 'could not read certificate file "{}": no certificate found'),
    "a key": (
        lambda path, c: put(path, c.private_key_pem),
        'could not read certificate file "{}": no certificate found',
    ),
    "damaged": (
        lambda path, c: put(path, c.certificate_pem[:100] + b"\n-----END CERTIFICATE-----\n"),
        'could not read certificate file "{}": damaged',
    ),
    "good, then damaged": (
        lambda path, c: put(path, c.certificate_pem + c.certificate_pem[:200] + b"\n-----END CERTIFICATE-----\n"),
        'could not read certificate file "{}": damaged',
    ),
}


@pytest.mark.parametrize("fault", BAD_CERTIFICATES)
def test_unusable_certificate_is_a_configuration_error(
    backend: str, fault: str, parameters: TlsParameters, client: ServerCertificate, tmp_path: Path
) -> None:
    """Unlike libpq, which connects without the certificate."""
    path = tmp_path / "c.crt"
    make, text = BAD_CERTIFICATES[fault]
    make(path, client)
    key = put(tmp_path / "c.key", client.private_key_pem)
    assert refused(backend, parameters, certificate=str(path), key=key).message.startswith(text.format(path))


def test_weak_client_certificate_is_named(
    backend: str, parameters: TlsParameters, clients: CertificateAuthority
) -> None:
    """OpenSSL reports a weak certificate, rustls an unsupported key."""
    weak = clients.issue(usage="client", common_name="app", key="rsa1024")
    error = refused(backend, parameters, certificate=weak.certificate_pem, key=weak.private_key_pem)
    assert error.message == (
        'could not load private key file "<bytes>": it is damaged, or this backend does not support its type'
        if backend == "rustls"
        else 'could not read certificate file "<bytes>": ee key too small'
    )
