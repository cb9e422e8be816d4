"""Build the compiled helper; install without it if it cannot be built.

With ``BABAR_TLS_BUILD_NATIVE=require`` a failure ends the build. With ``0`` the helper is not built.
"""

from __future__ import annotations

import os
import sys
import sysconfig

from setuptools import setup
from setuptools.command.build_ext import build_ext

WANTED = os.environ.get("BABAR_TLS_BUILD_NATIVE", "")


class OptionalBuildExt(build_ext):
    """A build of the extension that may fail: the package works without it."""

    def run(self) -> None:
        """Build the extension; print the reason if that fails."""
        try:
            super().run()
        except Exception as exc:
            if WANTED == "require":
                raise
            print(f"babar-tls: the compiled helper was not built, hashlib is used instead: {exc}", file=sys.stderr)
            self.extensions = []


def options() -> dict[str, object]:
    """Return the arguments of setup() that pyproject.toml cannot contain."""
    if WANTED == "0":
        return {}
    try:
        import cffi  # noqa: F401 - only to see if it is installed
    except ImportError:
        if WANTED == "require":
            raise
        return {}
    found: dict[str, object] = {"cffi_modules": ["babar_tls/_native/build_native.py:ffibuilder"]}
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):  # free-threaded builds do not have the limited API
        found["options"] = {"bdist_wheel": {"py_limited_api": "cp311"}}
    return found


setup(cmdclass={"build_ext": OptionalBuildExt}, **options())
