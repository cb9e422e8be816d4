"""The source distributions that contain the drivers' tests. `make` downloads them; see ``sdists.txt``."""

from __future__ import annotations

import hashlib
import re
import tarfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIST = Path(__file__).with_name("sdists.txt")
_LINE = re.compile(r"^(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})$", re.MULTILINE)
_FOLDER = Path(__file__).parents[2] / ".venv" / "drivers"  # of the Makefile


class SdistUnavailable(Exception):
    """The driver or its source distribution is not there."""


def pinned() -> dict[str, tuple[str, str]]:
    """Return the version and the SHA-256 digest of each source distribution, by name."""
    return {name: (release, digest) for name, release, digest in _LINE.findall(_LIST.read_text(encoding="utf-8"))}


def unpack(name: str, members: Iterable[str], folder: Path) -> None:
    """Unpack files and folders of a source distribution.

    Only the tests are unpacked: the driver itself must be the installed one.

    Args:
        name: The distribution.
        members: The files and folders, without the name of the folder that contains all of them.
        folder: Where to put them.

    Raises:
        SdistUnavailable: The source distribution was not downloaded, or the driver is not installed.
        AssertionError: The digest is wrong, or another version of the driver is installed.
    """
    release, digest = pinned()[name]
    archive = _FOLDER / f"{name}-{release}.tar.gz"
    try:
        installed = version(name)
    except PackageNotFoundError:
        raise SdistUnavailable(f"{name} is not installed") from None
    if not archive.exists():
        raise SdistUnavailable(f"{archive} does not exist: run `make drivers-sdists`, which needs PyPI")
    assert installed == release, f"{name} {installed} is installed, and sdists.txt names {release}: change one of them"
    actual = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert actual == digest, f"{archive} has the SHA-256 digest {actual}, and sdists.txt names {digest}"
    roots = [PurePosixPath(f"{name}-{release}", member) for member in members]
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if any(path.is_relative_to(root) for root in roots):
                member.name = str(PurePosixPath(*path.parts[1:]))
                tar.extract(member, folder, filter="data")
