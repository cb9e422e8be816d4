"""The secrets of connections are written only to a file that no other user can read."""

from __future__ import annotations

import dataclasses
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from babar_tls import ConfigError
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.tls import key_log
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.key_log import append_line, open_key_log, prepare_key_log

from .pairs import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import CertificateAuthority

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")

NAME = "db.example.com"


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o666, 0o644, 0o660])
def test_log_that_others_can_open_is_refused(
    backend: str, mode: int, parameters: TlsParameters, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """Before the first connection, and after a change of its mode between two connections."""
    path = tmp_path / "keys"
    path.touch()
    path.chmod(mode)
    chosen = dataclasses.replace(parameters, key_log_path=str(path))
    with pytest.raises(ConfigError) as caught:
        TlsConnection(get_backend(backend), chosen, NAME)
    text = f'could not open SSL key logging file "{path}": it has group or world access'
    assert (caught.value.message, caught.value.remedy) == (text, f"chmod 600 {path}")
    assert path.read_bytes() == b""
    path.chmod(0o600)
    Pair(backend, chosen, NAME, authority.issue(NAME)).handshake()
    written = path.read_bytes()
    assert written
    path.chmod(mode)
    with pytest.raises(ConfigError, match="group or world access"):
        TlsConnection(get_backend(backend), chosen, NAME)
    append_line(str(path), b"secret")
    assert path.read_bytes() == written


@pytest.mark.parametrize("target", ["file", "missing", "directory"])
def test_log_that_is_a_symbolic_link_is_refused(
    backend: str, target: str, parameters: TlsParameters, tmp_path: Path
) -> None:
    path, real = tmp_path / "keys", tmp_path / "real"
    path.symlink_to(real)
    if target == "file":
        real.touch(0o600)
    elif target == "directory":
        real.mkdir()
    with pytest.raises(ConfigError) as caught:
        TlsConnection(get_backend(backend), dataclasses.replace(parameters, key_log_path=str(path)), NAME)
    assert caught.value.message == f'could not open SSL key logging file "{path}": it is not a regular file'
    assert "symbolic link" in (caught.value.remedy or "")
    append_line(str(path), b"secret")
    assert not real.is_file() or real.read_bytes() == b""


def test_directory_may_be_a_symbolic_link(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    chosen = dataclasses.replace(parameters, key_log_path=str(tmp_path / "link" / "keys"))
    Pair(backend, chosen, NAME, authority.issue(NAME)).handshake()
    assert (tmp_path / "real" / "keys").read_bytes()


def test_log_of_another_user_is_refused(
    backend: str, parameters: TlsParameters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys"
    path.touch(0o600)
    owner = path.stat().st_uid
    monkeypatch.setattr(key_log, "_ROOT", -1)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ConfigError, match="it belongs to another user"):
        TlsConnection(get_backend(backend), dataclasses.replace(parameters, key_log_path=str(path)), NAME)


@pytest.mark.parametrize("swap", ["link", "others' file", "pipe"])
def test_log_that_is_replaced_during_a_connection_receives_nothing(
    backend: str, swap: str, parameters: TlsParameters, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """Each line is written to a file that was checked when it was opened."""
    path, stolen = tmp_path / "keys", tmp_path / "stolen"
    stolen.touch(0o600)
    pair = Pair(backend, dataclasses.replace(parameters, key_log_path=str(path)), NAME, authority.issue(NAME))
    path.unlink()
    if swap == "link":
        path.symlink_to(stolen)
    elif swap == "pipe":
        os.mkfifo(path, 0o600)
    else:
        stolen.chmod(0o666)
        os.link(stolen, path)
    pair.handshake()
    assert stolen.read_bytes() == b""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors have no paths on this system")
def test_library_opens_the_file_that_was_checked(tmp_path: Path) -> None:
    """The path may change after the check and before the library opens it."""
    path, stolen = tmp_path / "keys", tmp_path / "stolen"
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the number of names is needed
    with open_key_log(str(path)) as shown:
        path.rename(tmp_path / "moved")
        path.symlink_to(stolen)
        with Path(shown).open("ab") as file:
            file.write(b"secret")
    assert not stolen.exists()
    assert (tmp_path / "moved").read_bytes() == b"secret"
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - only the number of names is needed


def test_refused_log_leaves_no_descriptor(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("/proc is required to count descriptors")
    path = tmp_path / "keys"
    path.touch(0o644)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the number of names is needed
    for _ in range(3):
        with pytest.raises(ConfigError):
            prepare_key_log(str(path))
        append_line(str(path), b"x")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - only the number of names is needed


def test_log_that_is_rotated_while_the_context_is_built_is_not_lost(
    parameters: TlsParameters, authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ssl` keeps the log open. A context with a temporary log is not cached for the log before and after it."""
    path, kept = tmp_path / "keys", tmp_path / "kept"
    chosen = dataclasses.replace(parameters, key_log_path=str(path), alpn=("rotated",))
    genuine, times = key_log._open, [0]

    @contextmanager
    def opened(place: str) -> Iterator[int]:
        times[0] += 1
        is_for_context = times[0] == 2  # the first call is a check
        if is_for_context:
            path.rename(kept)
        with genuine(place) as descriptor:
            if is_for_context:
                path.rename(tmp_path / "moment")
                kept.rename(path)
            yield descriptor

    monkeypatch.setattr(key_log, "_open", opened)
    for _ in range(2):
        Pair("stdlib", chosen, NAME, authority.issue(NAME)).handshake()
    assert b"CLIENT_TRAFFIC_SECRET_0" in path.read_bytes()
    assert b"SECRET" not in (tmp_path / "moment").read_bytes()


def test_log_that_the_library_cannot_open_is_a_configuration_error(tmp_path: Path) -> None:
    """The library opens the file again, which may fail."""
    path = tmp_path / "keys"
    with pytest.raises(ConfigError) as caught, open_key_log(str(path)):
        raise PermissionError(13, "Permission denied")
    assert caught.value.message == f'could not open SSL key logging file "{path}": Permission denied'
