"""Files are read whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from babar_tls.config.files import NotRegularError, read_regular


def test_limits(tmp_path: Path) -> None:
    """As many bytes as allowed, and not one more."""
    path = tmp_path / "file"
    for size in (0, 1, 1 << 18, (1 << 18) + 1):
        path.write_bytes(b"x" * size)
        data, status = read_regular(str(path), size)
        assert (len(data), status.st_size) == (size, size)
        if size:
            with pytest.raises(ValueError, match=r"^it is too large$"):
                read_regular(str(path), size - 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_files_without_a_size() -> None:
    """Where the system does not say how large a file is, what is read counts."""
    data, status = read_regular("/proc/self/status", 1 << 20)
    assert status.st_size == 0
    assert data.startswith(b"Name:")
    with pytest.raises(ValueError, match=r"^it is too large$"):
        read_regular("/proc/self/status", 10)


def test_no_file(tmp_path: Path) -> None:
    """What is no file, or is not there, is told apart."""
    with pytest.raises(NotRegularError):
        read_regular(str(tmp_path), 1)
    with pytest.raises(FileNotFoundError):
        read_regular("", 1)
    with pytest.raises(ValueError, match="null"):
        read_regular("a\0b", 1)
