"""Build the extension with cffi in API mode, for the limited API. `babar_native.h` is the cdef.

setup.py runs this module through cffi's setuptools integration. No special compiler flags are needed, because each
function that uses special instructions has an attribute for them.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
SOURCES = ("sha256.c", "sha256_x86.c", "sha256_avx512.c", "sha256_arm.c", "dispatch.c", "pbkdf2.c", "certificate.c")


def declarations(header: str) -> str:
    """Return the header without its include directives and its include guard, which cffi cannot parse."""
    constants = ("#define BABAR_HASH", "#define BABAR_NO")
    return "\n".join(line for line in header.splitlines() if line[:1] != "#" or line.startswith(constants))


ffibuilder = FFI()
ffibuilder.cdef(declarations((HERE / "babar_native.h").read_text(encoding="utf-8")))
ffibuilder.set_source(
    "babar_tls._native._babar_native",
    '#include "babar_native.h"',
    # setuptools requires paths relative to setup.py, which is two folders above.
    sources=[f"babar_tls/_native/{name}" for name in SOURCES],
    include_dirs=["babar_tls/_native"],
    depends=[f"babar_tls/_native/{name}" for name in ("babar_native.h", "internal.h", "zero.h")],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
