"""A context is stored only with the stamps of the files from which it was built."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import CertificateError, ConfigError
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.backends.stdlib import StdlibBackend
from babar_tls.testing import CertificateAuthority
from babar_tls.tls import context_cache, file_stamps
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.context_cache import ContextCache, contexts
from babar_tls.tls.parameters import ClientCertificate

from .pairs import Pair
from .test_damaged_files import older_list

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "db.example.com"


class Disturbed:
    """Run `before` and `after` around the next reads of a path."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._genuine = file_stamps.read_regular
        self.path = ""
        self.before: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None
        self.times = 0
        monkeypatch.setattr(file_stamps, "read_regular", self._read)

    def _read(self, path: str, limit: int) -> tuple[bytes, os.stat_result]:
        if path != self.path or not self.times:
            return self._genuine(path, limit)
        self.times -= 1
        self.before()
        try:
            return self._genuine(path, limit)
        finally:
            self.after()


@pytest.fixture
def disturbed(monkeypatch: pytest.MonkeyPatch) -> Disturbed:
    return Disturbed(monkeypatch)


@pytest.fixture(scope="module")
def other() -> CertificateAuthority:
    return CertificateAuthority()


def reason(backend: str, parameters: TlsParameters, authority: CertificateAuthority) -> str | None:
    try:
        Pair(backend, parameters, NAME, authority.issue(NAME)).handshake()
    except CertificateError as error:
        return error.reason
    return None


def flip(link: Path, target: Path | str) -> None:
    fresh = link.with_name("fresh")
    fresh.symlink_to(target)
    fresh.replace(link)


@pytest.mark.parametrize("level", ["file", "directory"])
def test_link_that_changes_while_a_context_is_built_is_noticed(
    *,
    backend: str,
    level: str,
    authority: CertificateAuthority,
    other: CertificateAuthority,
    tmp_path: Path,
    disturbed: Disturbed,
) -> None:
    """The link is switched to another CA and back, as Kubernetes switches the directory of a secret."""
    for name, issuer in (("a", authority), ("b", other)):
        (tmp_path / name).mkdir()
        issuer.write(tmp_path / name / "root.crt")
    if level == "file":
        link, targets = tmp_path / "root.crt", ("a/root.crt", "b/root.crt")
        path = link
    else:
        link, targets = tmp_path / "data", ("a", "b")
        path = link / "root.crt"
    flip(link, targets[0])
    disturbed.path, disturbed.times = str(path), 1
    disturbed.before, disturbed.after = lambda: flip(link, targets[1]), lambda: flip(link, targets[0])
    parameters = TlsParameters(root_cert_path=str(path), default_roots=False)
    assert reason(backend, parameters, other) == "untrusted"
    assert disturbed.times == 0
    assert reason(backend, parameters, authority) is None


def test_context_of_a_file_that_always_changes_is_not_stored(
    backend: str, authority: CertificateAuthority, other: CertificateAuthority, tmp_path: Path, disturbed: Disturbed
) -> None:
    """After the file has stopped changing, its content is used."""
    path = tmp_path / "root.crt"
    authority.write(path)
    disturbed.path, disturbed.times = str(path), 1000
    disturbed.before = lambda: other.write(path)
    disturbed.after = lambda: authority.write(path)
    parameters = TlsParameters(root_cert_path=str(path), default_roots=False)
    size = len(contexts._contexts)
    TlsConnection(get_backend(backend), parameters, NAME)
    assert 0 < disturbed.times < 1000
    assert len(contexts._contexts) == size
    disturbed.times = 0
    assert (reason(backend, parameters, authority), reason(backend, parameters, other)) == (None, "untrusted")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_environment_that_changes_while_a_context_is_built_is_noticed(
    *,
    backend: str,
    variable: str,
    authority: CertificateAuthority,
    other: CertificateAuthority,
    tmp_path: Path,
    disturbed: Disturbed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, issuer in (("a", authority), ("b", other)):
        (tmp_path / name).mkdir()
        issuer.write(tmp_path / name / "01234567.0")
    places = [str(tmp_path / name / "01234567.0" if variable == "SSL_CERT_FILE" else tmp_path / name) for name in "ab"]
    for each in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(variable, places[0])
    # The root file is read before the environment.
    unrelated = tmp_path / "unrelated.crt"
    CertificateAuthority().write(unrelated)
    parameters = TlsParameters(root_cert_path=str(unrelated))
    genuine, calls = os.environ.get, []

    class Environment(dict):
        def get(self, name: str, default: str | None = None) -> str | None:
            value = genuine(name, default)
            if name == variable and disturbed.times == 0 and not calls:
                calls.append(name)  # the first look after the root file was read: another value, and it is back
                return places[1]
            return value

    disturbed.path, disturbed.times = str(unrelated), 1
    monkeypatch.setattr("babar_tls.tls.default_roots.os.environ", Environment(os.environ))
    assert reason(backend, parameters, other) == "untrusted"
    assert calls
    assert reason(backend, parameters, authority) is None


def test_hashed_file_that_changes_within_a_second_is_not_cached(
    backend: str,
    authority: CertificateAuthority,
    other: CertificateAuthority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A context that was built from the new file is not found with the stamp of the old file."""
    now = 100.0
    monkeypatch.setattr(context_cache, "monotonic", lambda: now)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    folder, target = tmp_path / "folder", tmp_path / "target"
    folder.mkdir()
    authority.write(target)
    (folder / "01234567.0").symlink_to(target)
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    first, second = TlsParameters(alpn=("one",)), TlsParameters(alpn=("two",))
    TlsConnection(get_backend(backend), first, NAME)
    kept = target.with_name("kept")
    target.rename(kept)
    other.write(target)
    TlsConnection(get_backend(backend), second, NAME)  # built now, from the other file
    target.unlink()
    kept.rename(target)
    now += 2 * context_cache._FOLDER_AGE
    for parameters in (first, second):
        assert reason(backend, parameters, authority) is None
        assert reason(backend, parameters, other) == "untrusted"


def test_list_that_disappears_while_a_context_is_built_is_noticed(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority, tmp_path: Path
) -> None:
    if not get_backend(backend).capabilities.crls:
        pytest.skip("this backend checks no revocation lists")
    revoked = authority.issue(NAME)
    (tmp_path / "01234567.r0").write_bytes(older_list(authority))
    revoking, away = tmp_path / "89abcdef.r0", tmp_path / "away"
    revoking.write_bytes(authority.revocation_list([revoked]))
    chosen = dataclasses.replace(parameters, crl_dir=str(tmp_path))
    listed = os.listdir
    times = [1]

    def listdir(path: str) -> list[str]:
        if path == str(tmp_path) and times and reads_have_begun():
            times.pop()
            revoking.rename(away)
            try:
                return listed(path)
            finally:
                away.rename(revoking)
        return listed(path)

    def reads_have_begun() -> bool:
        return file_stamps._reads.get() is not None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "listdir", listdir)
        with pytest.raises(CertificateError) as caught:
            Pair(backend, chosen, NAME, revoked).handshake()
    assert not times
    assert caught.value.reason == "revoked"


def test_certificate_and_key_that_are_replaced_one_after_the_other_match(
    backend: str, parameters: TlsParameters, clients: CertificateAuthority, tmp_path: Path, disturbed: Disturbed
) -> None:
    """The certificate is read before and the key after the replacement. The context is then built again."""
    old, new = (clients.issue(usage="client", common_name=name, key="rsa2048") for name in ("old", "new"))
    certificate, key = tmp_path / "c.crt", tmp_path / "c.key"
    old.write(certificate, key)
    disturbed.path, disturbed.times = str(key), 1
    disturbed.before = lambda: new.write(certificate, key)
    source = ClientCertificate(certificate=str(certificate), key=str(key))
    TlsConnection(get_backend(backend), dataclasses.replace(parameters, client_certificate=source), NAME)
    assert disturbed.times == 0


def test_password_callable_is_called_once_if_nothing_changes(parameters: TlsParameters) -> None:
    asked: list[int] = []

    class Refusing(StdlibBackend):
        def create_context(self, *_: object) -> Any:
            asked.append(1)
            raise ConfigError("wrong password")

    with pytest.raises(ConfigError):
        ContextCache().get(Refusing(), parameters)
    assert asked == [1]


def test_links_are_compared_for_a_backend_that_opens_the_path(
    parameters: TlsParameters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    link = tmp_path / "link"
    flip(link, "a")
    turns = [1]

    def build(*_: object) -> str:
        if not turns:
            return link.read_text()
        turns.pop()
        flip(link, "b")
        found = link.read_text()
        flip(link, "a")
        return found

    monkeypatch.setattr(context_cache, "_files", lambda _: [str(link)])
    monkeypatch.setattr(context_cache, "_build", build)
    cache = ContextCache()
    assert cache.get(StdlibBackend(), parameters) == "a"
    assert cache.get(StdlibBackend(), parameters) == "a"


def test_report_describes_the_trusted_certificates(
    backend: str, authority: CertificateAuthority, other: CertificateAuthority, tmp_path: Path, disturbed: Disturbed
) -> None:
    path = tmp_path / "root.crt"
    path.write_bytes(authority.root_pem)
    disturbed.path, disturbed.times = str(path), 1
    disturbed.after = lambda: path.write_bytes(authority.root_pem + other.root_pem)
    roots = TlsConnection(
        get_backend(backend), TlsParameters(root_cert_path=str(path), default_roots=False), NAME
    ).trusted_roots
    assert roots is not None
    assert roots.anchors == 2
    assert reason(backend, TlsParameters(root_cert_path=str(path), default_roots=False), other) is None
