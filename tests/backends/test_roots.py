"""The sources of trusted certificates, the errors of root files, and the cache of contexts."""

from __future__ import annotations

import dataclasses
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import CertificateError, ConfigError, TlsVerify
from babar_tls.backends import TlsParameters, get_backend, stdlib
from babar_tls.testing import CertificateAuthority
from babar_tls.tls import context_cache
from babar_tls.tls import default_roots as roots
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.context_cache import ContextCache

from .pairs import Pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "db.example.com"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.fixture(scope="module")
def default_authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def default_root(default_authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the machine trust `default_authority`."""
    path = tmp_path / "default.crt"
    default_authority.write(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


def trusts(backend: str, parameters: TlsParameters, authority: CertificateAuthority) -> bool:
    try:
        Pair(backend, parameters, NAME, authority.issue(NAME)).handshake()
    except CertificateError as error:
        return {"untrusted": False}[error.reason]
    return True


@pytest.mark.usefixtures("default_root")
def test_root_file_is_used_with_or_without_the_default_roots(
    backend: str, authority: CertificateAuthority, default_authority: CertificateAuthority, root_path: Path
) -> None:
    defaults = TlsParameters()
    added = TlsParameters(root_cert_path=str(root_path))
    alone = TlsParameters(root_cert_path=str(root_path), default_roots=False)
    trusted = [
        (trusts(backend, parameters, authority), trusts(backend, parameters, default_authority))
        for parameters in (defaults, added, alone)
    ]
    assert trusted == [(False, True), (True, True), (True, False)]


def hashed(authority: CertificateAuthority) -> str:
    """Return the root's file name in a hashed directory."""
    from cryptography import x509

    crypto = pytest.importorskip("OpenSSL.crypto")
    certificate = crypto.X509.from_cryptography(x509.load_pem_x509_certificate(authority.root_pem))
    return f"{certificate.subject_name_hash():08x}.0"


def test_ssl_cert_dir_names_a_hashed_directory(
    backend: str, default_authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default_authority.write(tmp_path / hashed(default_authority))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert trusts(backend, TlsParameters(), default_authority)


def test_changes_in_hashed_directories_are_noticed(
    backend: str,
    authority: CertificateAuthority,
    default_authority: CertificateAuthority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A root is added, or the target of a link removed. SSL_CERT_DIR may name several directories."""
    monkeypatch.setattr(context_cache, "_FOLDER_AGE", 0)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", f"{first}{os.pathsep}{second}")
    target = tmp_path / "root.pem"
    default_authority.write(target)
    (second / hashed(default_authority)).symlink_to(target)
    assert trusts(backend, TlsParameters(), default_authority)
    assert not trusts(backend, TlsParameters(), authority)
    authority.write(first / hashed(authority))
    assert trusts(backend, TlsParameters(), authority)
    target.write_bytes(b"")
    assert not trusts(backend, TlsParameters(), default_authority)


def test_hashed_directory_is_stamped_at_most_once_a_second(
    parameters: TlsParameters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the directory itself has changed."""
    now = 100.0
    monkeypatch.setattr(context_cache, "monotonic", lambda: now)
    path = tmp_path / "01234567.0"
    path.touch()
    (tmp_path / "README").touch()
    monkeypatch.setattr(context_cache, "_files", lambda _: [str(tmp_path)])
    monkeypatch.setattr(context_cache, "_build", lambda *_: object())
    cache, backend = ContextCache(), get_backend("stdlib")
    first = cache.get(backend, parameters)
    (tmp_path / "README").write_bytes(b"not a root")
    path.write_bytes(b"x")
    assert cache.get(backend, parameters) is first
    now += context_cache._FOLDER_AGE
    second = cache.get(backend, parameters)
    assert second is not first
    now += context_cache._FOLDER_AGE
    (tmp_path / "README").write_bytes(b"still no root")
    assert cache.get(backend, parameters) is second
    (tmp_path / "89abcdef.0").touch()
    os.utime(tmp_path, ns=(0, 0))
    assert cache.get(backend, parameters) is not second


@pytest.mark.parametrize("level", TlsVerify)
def test_each_level_verifies_what_it_promises(
    backend: str, level: TlsVerify, authority: CertificateAuthority, parameters: TlsParameters
) -> None:
    chosen = dataclasses.replace(parameters, verify=level)
    cases = {
        TlsVerify.FULL: authority.issue(NAME),
        TlsVerify.CA: authority.issue("other.example.com"),
        TlsVerify.NONE: CertificateAuthority().issue("other.example.com"),
    }
    order = list(TlsVerify)
    for needs, certificate in cases.items():
        pair = Pair(backend, chosen, NAME, certificate)
        if order.index(level) >= order.index(needs):
            assert pair.handshake().client.facts.peer_certificate == certificate.der
        else:
            with pytest.raises(CertificateError):
                pair.handshake()


def test_unverified_connection_opens_no_root_file(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    parameters = TlsParameters(verify=TlsVerify.NONE, root_cert_path="/nonexistent")
    Pair(backend, parameters, NAME, CertificateAuthority().issue(NAME)).handshake()


def damaged(pem: bytes) -> bytes:
    return pem[:100] + b"\n-----END CERTIFICATE-----\n"


BAD_FILES: dict[str, tuple[Callable[[Path, bytes], object], str]] = {
    "missing": (lambda path, _: None, 'root certificate file "{}" does not exist'),
    "a directory": (
        lambda path, _: path.mkdir(),
        'could not read root certificate file "{}": it is not a regular file',
    ),
    "a pipe": (lambda path, _: os.mkfifo(path), 'could not read root certificate file "{}": it is not a regular file'),
    "a device without end": (
        lambda path, _: path.symlink_to("/dev/zero"),
        'could not read root certificate file "{}": it is not a regular file',
    ),
    "empty": (
        lambda path, _: path.write_bytes(b""),
        'could not read root certificate file "{}": no certificate or crl found',
    ),
    "garbage": (
        lambda path, _: path.write_bytes(b"\0\xff" * 5000),
        'could not read root certificate file "{}": no certificate or crl found',
    ),
    "a private key": (
        lambda path, _: path.write_bytes(CertificateAuthority().issue("x").private_key_pem),
        'could not read root certificate file "{}": no certificate or crl found',
    ),
    "damaged": (
        lambda path, pem: path.write_bytes(damaged(pem)),
        'could not read root certificate file "{}": damaged PEM, line 1: the CERTIFICATE is not Base64',
    ),
    "good, then damaged": (
        lambda path, pem: path.write_bytes(b"# two\n" + pem + damaged(pem)),
        'could not read root certificate file "{}": damaged PEM, line 14: the CERTIFICATE is not Base64',
    ),
}


@pytest.mark.parametrize("named_by", ["tls_root_cert_path", "SSL_CERT_FILE"])
@pytest.mark.parametrize("fault", BAD_FILES)
def test_unusable_root_file_is_a_configuration_error_with_the_text_of_libpq(
    *,
    backend: str,
    fault: str,
    named_by: str,
    authority: CertificateAuthority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "root.crt"
    make, text = BAD_FILES[fault]
    make(path, authority.root_pem)
    if named_by == "SSL_CERT_FILE":
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        parameters = TlsParameters()
    else:
        parameters = TlsParameters(root_cert_path=str(path), default_roots=False)
    with pytest.raises(ConfigError) as caught:
        TlsConnection(get_backend(backend), parameters, NAME)
    assert caught.value.message == text.format(path)


def test_unreadable_root_file_is_a_configuration_error(
    backend: str, root_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = os.open

    def refuse(path: Any, *rest: Any) -> int:
        if path == str(root_path):  # root may read everything
            raise PermissionError(13, "Permission denied")
        return genuine(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    other = TlsParameters(root_cert_path=str(root_path), default_roots=False, alpn=("unseen",))
    with pytest.raises(ConfigError, match=r"could not read root certificate file .*: Permission denied"):
        TlsConnection(get_backend(backend), other, NAME)


def test_missing_default_roots_are_an_error_only_without_a_root_file(
    backend: str, authority: CertificateAuthority, root_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def none() -> None:
        raise ConfigError("no default trusted root certificates were found on this machine")

    monkeypatch.setattr(roots, "default_roots", none)
    assert trusts(backend, TlsParameters(root_cert_path=str(root_path)), authority)
    with pytest.raises(ConfigError, match="no default trusted root"):
        TlsConnection(get_backend(backend), TlsParameters(), NAME)


def test_changed_root_file_is_used_by_the_next_connection(
    backend: str, authority: CertificateAuthority, tmp_path: Path
) -> None:
    path = tmp_path / "root.crt"
    parameters = TlsParameters(root_cert_path=str(path), default_roots=False)
    later = CertificateAuthority()
    later.write(path)
    assert not trusts(backend, parameters, authority)
    replacement = tmp_path / "new.crt"
    authority.write(replacement)
    replacement.replace(path)
    assert trusts(backend, parameters, authority)
    path.write_bytes(later.root_pem)
    os.utime(path, ns=(0, 0))
    assert not trusts(backend, parameters, authority)
    assert trusts(backend, parameters, later)
    path.unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        TlsConnection(get_backend(backend), parameters, NAME)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no time of change")
def test_rewritten_root_file_with_the_same_size_and_time_is_noticed(
    backend: str, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """As after cp -p or rsync -t."""
    path = tmp_path / "root.crt"
    parameters = TlsParameters(root_cert_path=str(path), default_roots=False)
    later = CertificateAuthority()
    size = max(len(authority.root_pem), len(later.root_pem))
    path.write_bytes(authority.root_pem.ljust(size, b"\n"))
    os.utime(path, ns=(0, 0))
    before = path.stat()
    assert trusts(backend, parameters, authority)
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_bytes(later.root_pem.ljust(size, b"\n"))
        os.utime(path, ns=(0, 0))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert not trusts(backend, parameters, authority)
    assert trusts(backend, parameters, later)


def test_changed_default_roots_are_used_by_the_next_connection(
    backend: str, authority: CertificateAuthority, default_authority: CertificateAuthority, default_root: Path
) -> None:
    assert not trusts(backend, TlsParameters(), authority)
    default_root.write_bytes(default_authority.root_pem + authority.root_pem)
    assert trusts(backend, TlsParameters(), authority)


def test_context_is_cached_by_parameters_and_backend(backend: str, parameters: TlsParameters) -> None:
    cache, library = ContextCache(), get_backend(backend)
    equal = dataclasses.replace(parameters)
    assert cache.get(library, parameters) is cache.get(library, equal)
    assert cache.get(library, dataclasses.replace(parameters, alpn=())) is not cache.get(library, parameters)
    assert cache.get(type(library)(), parameters) is not cache.get(library, parameters)


def test_least_recently_used_context_is_removed(parameters: TlsParameters) -> None:
    built: list[int] = []

    class Counting(stdlib.StdlibBackend):
        def create_context(self, *arguments: Any) -> Any:
            built.append(1)
            return super().create_context(*arguments)

    cache, backend = ContextCache(), Counting()
    first = cache.get(backend, parameters)
    for index in range(100):
        cache.get(backend, dataclasses.replace(parameters, alpn=(str(index),)))
        assert cache.get(backend, parameters) is first
    assert len(cache._contexts) == context_cache._CAPACITY
    assert len(built) == 101


def test_failures_are_not_cached(backend: str, authority: CertificateAuthority, tmp_path: Path) -> None:
    path = tmp_path / "late.crt"
    parameters = TlsParameters(root_cert_path=str(path), default_roots=False)
    with pytest.raises(ConfigError):
        TlsConnection(get_backend(backend), parameters, NAME)
    authority.write(path)
    assert trusts(backend, parameters, authority)


def test_threads_connect_while_the_root_file_is_rotated(
    backend: str, authority: CertificateAuthority, tmp_path: Path
) -> None:
    path = tmp_path / "root.crt"
    authority.write(path)
    parameters = TlsParameters(root_cert_path=str(path), default_roots=False)
    right, wrong = authority.issue(NAME), CertificateAuthority().issue(NAME)
    stop, start = threading.Event(), threading.Barrier(9)
    problems: list[BaseException] = []

    def hammer() -> None:
        start.wait()
        try:
            for _ in range(15):
                pair = Pair(backend, parameters, NAME, right).handshake()
                pair.client.write(b"x")
                assert pair.server_read() == b"x"
                for hostname, certificate in (("other.example.com", right), (NAME, wrong)):
                    with pytest.raises(CertificateError) as caught:
                        Pair(backend, parameters, hostname, certificate).handshake()
                    expected = "untrusted" if certificate is wrong else "hostname-mismatch"
                    assert caught.value.reason == expected
        except BaseException as exc:
            problems.append(exc)

    def rotate() -> None:
        start.wait()
        count = 0
        while not stop.is_set():
            count += 1
            fresh = tmp_path / f"{count}.crt"
            fresh.write_bytes(authority.root_pem + b"\n" * count)
            fresh.replace(path)

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    rotator = threading.Thread(target=rotate)
    for thread in (*threads, rotator):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    rotator.join()
    assert problems == []
