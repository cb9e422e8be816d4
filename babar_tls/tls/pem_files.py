"""Read certificates and revocation lists with their files and lines, and load them into OpenSSL."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from ..x509.pem import blocks, encode
from .file_stamps import read_file
from .memory_files import file_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..errors import ConfigError


_MAX_FILE = 1 << 26  # bytes; large CAs have revocation lists of tens of megabytes


class FileBlock(NamedTuple):
    """A block of PEM in a file.

    Attributes:
        path: The file.
        line: The number of its first line.
        label: Its label.
        der: Its content; for a TRUSTED CERTIFICATE the certificate, followed by its trust settings.
    """

    path: str
    line: int
    label: str
    der: bytes

    @property
    def pem(self) -> bytes:
        """The block as PEM."""
        return encode(self.label, self.der)


def parse_file(path: str, data: bytes, *labels: str) -> list[FileBlock]:
    """Return the blocks with these labels in the content of a file.

    Raises:
        PemError: The file is damaged.
    """
    return [FileBlock(path, block.line, block.label, block.der()) for block in blocks(data, *labels)]


def read_blocks(path: str, unusable: Callable[[str, str], ConfigError], *labels: str) -> tuple[list[FileBlock], bytes]:
    """Read the blocks with these labels in a file of a context.

    Args:
        path: The file.
        unusable: A function that creates the error from a path and a reason.
        labels: The labels.

    Returns:
        The blocks, and the content of the file.

    Raises:
        FileNotFoundError: The file does not exist.
        ConfigError: The file is unreadable, not a regular file, too large or damaged.
    """
    try:
        data, _ = read_file(path, _MAX_FILE)
        found = parse_file(path, data, *labels)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as exc:  # PemError is a ValueError
        raise unusable(path, getattr(exc, "strerror", None) or str(exc)) from exc
    return found, data


def hashed_paths(folder: str, infix: str = "r?") -> list[str]:
    """Return the paths of the files of a hashed directory (``openssl rehash``), sorted.

    Args:
        folder: The directory.
        infix: A regular expression: ``r`` for revocation lists, empty for certificates.

    Raises:
        OSError: The directory cannot be read.
        ValueError: The path contains a NUL character.
    """
    hashed = re.compile(rf"[0-9a-fA-F]{{8}}\.{infix}[0-9]+")
    return [
        os.path.join(folder, name)  # noqa: PTH118 - paths are strings here
        for name in sorted(os.listdir(folder))  # noqa: PTH208 - names suffice, without a Path for each
        if hashed.fullmatch(name)
    ]


def load_with_openssl(
    found: Iterable[FileBlock], load: Callable[[str], None], unusable: Callable[[str, str], ConfigError]
) -> None:
    """Load certificates and lists into OpenSSL. On an error, find the block at fault.

    Args:
        found: The certificates and lists.
        load: A function that loads a PEM file, and raises `ValueError` with OpenSSL's reason.
        unusable: A function that creates the error from a path and a reason.

    Raises:
        ConfigError: OpenSSL cannot read one of them.
    """
    some = list(found)
    if not some:
        return
    try:
        _load(some, load)
    except ValueError as exc:
        for one in some:
            try:
                _load([one], load)
            except ValueError as cause:
                raise unusable(one.path, f"the {one.label} in line {one.line} is damaged") from cause
        raise unusable(some[0].path, str(exc)) from exc


def _load(some: Iterable[FileBlock], load: Callable[[str], None]) -> None:
    with file_of(b"".join(one.pem for one in some)) as path:
        load(path)
