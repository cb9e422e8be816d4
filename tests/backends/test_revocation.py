"""Revocation lists must cover every certificate of a chain. Certificates in their files are not trusted."""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from babar_tls import CertificateError, ConfigError, TlsVerify
from babar_tls.backends import TlsParameters, available_backends, get_backend
from babar_tls.testing import CertificateAuthority, ServerCertificate
from babar_tls.tls.connection import TlsConnection

from .pairs import Pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "db.example.com"
DAY = timedelta(days=1)
NOW = datetime.now(UTC)
OLD = {"last_update": NOW - 9 * DAY, "next_update": NOW - DAY}


@pytest.fixture
def backend(backend: str) -> str:
    """Return the backends that check revocation lists.

    `test_backend_without_revocation_refuses_lists` tests the others.
    """
    if not get_backend(backend).capabilities.crls:
        pytest.skip("this backend checks no revocation lists")
    return backend


def test_backend_without_revocation_refuses_lists(parameters: TlsParameters, tmp_path: Path) -> None:
    """The error names the backends that support them."""
    if "rustls" not in available_backends():
        pytest.skip("the rustls backend is not installed")
    assert get_backend("rustls").capabilities.crls is False
    for place in ({"crl_path": str(tmp_path / "crl.pem")}, {"crl_dir": str(tmp_path)}):
        chosen = dataclasses.replace(parameters, **place)
        with pytest.raises(ConfigError, match="cannot check certificate revocation lists") as caught:
            TlsConnection(get_backend("rustls"), chosen, NAME)
        assert "tls_backend='stdlib'" in (caught.value.remedy or "")
        TlsConnection(get_backend("rustls"), dataclasses.replace(chosen, verify=TlsVerify.NONE), NAME)


@pytest.fixture(scope="module")
def intermediate(authority: CertificateAuthority) -> CertificateAuthority:
    return authority.intermediate()


@pytest.fixture(scope="module")
def certificate(intermediate: CertificateAuthority) -> ServerCertificate:
    return intermediate.issue(NAME)


def fault(backend: str, parameters: TlsParameters, certificate: ServerCertificate) -> tuple[str, str] | None:
    """Return the reason and the text of the error, or None."""
    try:
        Pair(backend, parameters, NAME, certificate).handshake()
    except CertificateError as error:
        return error.reason, error.message.removeprefix("SSL error: certificate verify failed: ")
    return None


#: What the lists are made from: root authority, intermediate, leaf; and the fault.
CASES: dict[
    str,
    tuple[
        Callable[[CertificateAuthority, CertificateAuthority, ServerCertificate], list[bytes]], tuple[str, str] | None
    ],
] = {
    "all good": (lambda r, i, _: [r.revocation_list(), i.revocation_list()], None),
    "in the other order": (lambda r, i, _: [i.revocation_list(), r.revocation_list()], None),
    "leaf revoked": (
        lambda r, i, c: [r.revocation_list(), i.revocation_list([c])],
        ("revoked", "certificate revoked"),
    ),
    "intermediate revoked": (
        lambda r, i, _: [r.revocation_list([i]), i.revocation_list()],
        ("revoked", "certificate revoked"),
    ),
    "root's only": (lambda r, i, _: [r.revocation_list()], ("crl", "unable to get certificate CRL")),
    "intermediate's only": (lambda r, i, _: [i.revocation_list()], ("crl", "unable to get certificate CRL")),
    "another authority's": (
        lambda r, i, _: [CertificateAuthority().revocation_list()],
        ("crl", "unable to get certificate CRL"),
    ),
    "expired": (
        lambda r, i, _: [r.revocation_list(), i.revocation_list(**OLD)],
        ("crl", "CRL has expired"),
    ),
    "not yet valid": (
        lambda r, i, _: [r.revocation_list(), i.revocation_list(last_update=NOW + DAY)],
        ("crl", "CRL is not yet valid"),
    ),
    "one expired, its successor added": (
        lambda r, i, _: [r.revocation_list(), i.revocation_list(**OLD), i.revocation_list()],
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("place", ["file", "directory"])
def test_each_certificate_needs_a_current_list_that_does_not_revoke_it(  # noqa: PLR0917 - fixtures
    backend: str,
    place: str,
    case: str,
    parameters: TlsParameters,
    authority: CertificateAuthority,
    intermediate: CertificateAuthority,
    certificate: ServerCertificate,
    tmp_path: Path,
) -> None:
    """With the texts of OpenSSL."""
    make, expected = CASES[case]
    lists = make(authority, intermediate, certificate)
    if place == "file":
        path = tmp_path / "crl.pem"
        path.write_bytes(b"a comment\n".join(lists))
        chosen = dataclasses.replace(parameters, crl_path=str(path))
    else:
        for index, data in enumerate(lists):
            (tmp_path / f"{index:08x}.r{index}").write_bytes(data)
        (tmp_path / "README").write_text("not a list")
        chosen = dataclasses.replace(parameters, crl_dir=str(tmp_path))
    for level in (TlsVerify.FULL, TlsVerify.CA):
        assert fault(backend, dataclasses.replace(chosen, verify=level), certificate) == expected
    assert fault(backend, dataclasses.replace(chosen, verify=TlsVerify.NONE), certificate) is None


def test_list_with_a_forged_signature_is_not_accepted(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority, tmp_path: Path
) -> None:
    impostor = CertificateAuthority()
    impostor._certificate = authority._certificate
    path = tmp_path / "crl.pem"
    path.write_bytes(impostor.revocation_list())
    chosen = dataclasses.replace(parameters, crl_path=str(path))
    assert fault(backend, chosen, authority.issue(NAME)) == ("crl", "CRL signature failure")


def test_certificate_in_a_list_file_or_directory_is_not_trusted(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """Unlike libpq, which trusts it."""
    other = CertificateAuthority()
    path = tmp_path / "00000000.r0"
    path.write_bytes(other.root_pem + other.revocation_list() + authority.revocation_list())
    (tmp_path / "00000000.0").write_bytes(other.root_pem)
    for place in ({"crl_path": str(path)}, {"crl_dir": str(tmp_path)}):
        chosen = dataclasses.replace(parameters, **place)
        found = fault(backend, chosen, other.issue(NAME))
        assert found == ("untrusted", "unable to get local issuer certificate")
        assert fault(backend, chosen, authority.issue(NAME)) is None


def test_lists_also_apply_to_default_roots(
    backend: str, authority: CertificateAuthority, root_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(root_path))
    certificate = authority.issue(NAME)
    path = tmp_path / "crl.pem"
    path.write_bytes(authority.revocation_list([certificate]))
    assert fault(backend, TlsParameters(), certificate) is None
    assert fault(backend, TlsParameters(crl_path=str(path)), certificate) == ("revoked", "certificate revoked")


def test_new_list_is_used_by_the_next_connection(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """Whether the file is rewritten, replaced or added to the directory."""
    certificate = authority.issue(NAME)
    revoked = ("revoked", "certificate revoked")
    path = tmp_path / "00000000.r0"
    in_file = dataclasses.replace(parameters, crl_path=str(path))
    in_folder = dataclasses.replace(parameters, crl_dir=str(tmp_path))
    assert fault(backend, in_folder, certificate) == ("crl", "unable to get certificate CRL")
    path.write_bytes(authority.revocation_list())
    assert (fault(backend, in_file, certificate), fault(backend, in_folder, certificate)) == (None, None)
    path.write_bytes(authority.revocation_list([certificate]))
    assert (fault(backend, in_file, certificate), fault(backend, in_folder, certificate)) == (revoked, revoked)


def _mkfifo(path: Path) -> None:
    os.mkfifo(path)


BAD_FILES: dict[str, tuple[Callable[[Path, bytes], object], str]] = {
    "missing": (lambda path, _: None, 'certificate revocation list file "{}" does not exist'),
    "a directory": (
        lambda path, _: path.mkdir(),
        'could not read certificate revocation list file "{}": it is not a regular file',
    ),
    "a pipe": (
        lambda path, _: _mkfifo(path),
        'could not read certificate revocation list file "{}": it is not a regular file',
    ),
    "a device without end": (
        lambda path, _: path.symlink_to("/dev/zero"),
        'could not read certificate revocation list file "{}": it is not a regular file',
    ),
    "too large": (
        lambda path, _: (path.touch(), os.truncate(path, (1 << 26) + 1)),
        'could not read certificate revocation list file "{}": it is too large',
    ),
    "empty": (
        lambda path, _: path.write_bytes(b""),
        'could not read certificate revocation list file "{}": no certificate revocation list found',
    ),
    "a certificate": (
        lambda path, _: path.write_bytes(CertificateAuthority().root_pem),
        'could not read certificate revocation list file "{}": no certificate revocation list found',
    ),
    "damaged PEM": (
        lambda path, pem: path.write_bytes(pem[:100] + b"\n-----END X509 CRL-----\n"),
        'could not read certificate revocation list file "{}": damaged',
    ),
    "damaged inside": (
        lambda path, pem: path.write_bytes(pem.replace(b"\nMII", b"\nMIJ")),
        'could not read certificate revocation list file "{}": damaged PEM, line 1: the X509 CRL is truncated',
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_file_without_a_list_is_an_error(
    backend: str, name: str, parameters: TlsParameters, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """Unlike libpq, which then checks no list."""
    path = tmp_path / "crl.pem"
    make, text = BAD_FILES[name]
    make(path, authority.revocation_list([authority.issue(NAME) for _ in range(10)]))
    with pytest.raises(ConfigError) as caught:
        TlsConnection(get_backend(backend), dataclasses.replace(parameters, crl_path=str(path)), NAME)
    assert caught.value.message.startswith(text.format(path))


@pytest.mark.parametrize("name", ["a pipe", "a device without end", "too large"])
def test_damaged_list_in_a_directory_is_an_error(
    backend: str, name: str, parameters: TlsParameters, tmp_path: Path
) -> None:
    path = tmp_path / "00000000.r0"
    make, text = BAD_FILES[name]
    make(path, b"")
    with pytest.raises(ConfigError) as caught:
        TlsConnection(get_backend(backend), dataclasses.replace(parameters, crl_dir=str(tmp_path)), NAME)
    assert caught.value.message == text.format(path)


def test_missing_directory_is_an_error(backend: str, parameters: TlsParameters, tmp_path: Path) -> None:
    """Also a path that is not a directory."""
    file = tmp_path / "file"
    file.touch()
    for path, text in ((tmp_path / "none", "does not exist"), (file, "Not a directory")):
        with pytest.raises(ConfigError, match=f'certificate revocation list directory "{path}".*{text}'):
            TlsConnection(get_backend(backend), dataclasses.replace(parameters, crl_dir=str(path)), NAME)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_directory_that_cannot_exist_is_refused(backend: str, name: str, parameters: TlsParameters) -> None:
    with pytest.raises(ConfigError, match="could not read certificate revocation list directory"):
        TlsConnection(get_backend(backend), dataclasses.replace(parameters, crl_dir=name), NAME)
