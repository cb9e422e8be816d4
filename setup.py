"""Builds the compiled helper, and goes on without it where that cannot be done.

Set ``BABAR_TLS_BUILD_NATIVE=require`` to have a failure be a failure, ``0`` to leave it out.
"""

from __future__ import annotations

import os
import sys
import sysconfig

from setuptools import setup
from setuptools.command.build_ext import build_ext

WANTED = os.environ.get("BABAR_TLS_BUILD_NATIVE", "")


class OptionalBuildExt(build_ext):
    """A build whose failure leaves the library to its pure Python."""

    def run(self) -> None:
        """Build, or say why not."""
        try:
            super().run()
        except Exception as exc:
            if WANTED == "require":
                raise
            print(f"babar-tls: the compiled helper was not built, hashlib will do its work: {exc}", file=sys.stderr)
            self.extensions = []


def options() -> dict[str, object]:
    """What setup() is given beyond pyproject.toml."""
    if WANTED == "0":
        return {}
    try:
        import cffi  # noqa: F401
    except ImportError:
        if WANTED == "require":
            raise
        return {}
    found: dict[str, object] = {"cffi_modules": ["babar_tls/_native/build_native.py:ffibuilder"]}
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):  # free-threaded builds have no limited API
        found["options"] = {"bdist_wheel": {"py_limited_api": "cp311"}}
    return found


setup(cmdclass={"build_ext": OptionalBuildExt}, **options())
