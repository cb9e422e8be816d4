"""Facts about the machine and the installed software."""

from __future__ import annotations

import os
import platform
import re
import ssl
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_CPU_INFO = Path("/proc/cpuinfo")
_MEMORY = Path("/proc/self/statm")
_STATISTICS = Path("/proc/stat")
_IDLE = (3, 4)  # columns of /proc/stat: idle, and waiting for disks
_PACKAGES = ("asyncpg", "cffi", "pg8000", "psqlpy", "psycopg", "pyOpenSSL", "rtls", "SQLAlchemy", "uvloop")


def describe_machine() -> dict[str, Any]:
    """Return machine and software in JSON's types; an unknown fact is None.

    ``load`` is the load average over one minute, which includes this process.
    """
    return {
        "cpu": _from_cpu_info("model name") or platform.processor() or None,
        "logical_cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "load": _load(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": ssl.OPENSSL_VERSION,
        "cryptography": _cryptography(),
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of the installed drivers and TLS libraries by name."""
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    with suppress(ImportError, AttributeError):
        number = import_module("psycopg").pq.version()
        found["libpq"] = f"{number // 10000}.{number % 10000}"
    return found


def resident_bytes() -> int | None:
    """Return the size of this process in RAM, or None on systems without ``/proc/self/statm``."""
    with suppress(OSError):
        return int(_MEMORY.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def busy_seconds() -> float | None:
    """Return the time since the start of the system that all cores together have been busy, for all processes.

    Return None on systems without ``/proc/stat``.
    """
    with suppress(OSError, ValueError, AttributeError):
        times = _STATISTICS.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]  # user time includes guest time
        return sum(int(ticks) for i, ticks in enumerate(times) if i not in _IDLE) / os.sysconf("SC_CLK_TCK")
    return None


def cpu_clock_hz() -> float | None:
    """Return an estimate of the clock rate: that of ``/proc/cpuinfo``, on a virtual machine often the nominal one."""
    megahertz = _from_cpu_info("cpu MHz")
    return float(megahertz) * 1e6 if megahertz else None


def _from_cpu_info(key: str) -> str | None:
    with suppress(OSError):
        found = re.findall(rf"^{key}\s*: (.*)$", _CPU_INFO.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if found:
            return str(max(found, key=float) if key == "cpu MHz" else found[0]).strip()
    return None


def _load() -> float | None:
    with suppress(AttributeError, OSError):  # not on Windows
        return round(os.getloadavg()[0], 2)
    return None


def _cryptography() -> str | None:
    with suppress(ImportError, PackageNotFoundError):
        from cryptography.hazmat.backends.openssl.backend import backend  # noqa: PLC0415 - optional

        return f"{version('cryptography')} ({backend.openssl_version_text()})"
    return None
