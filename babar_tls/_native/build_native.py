"""How the extension is built: cffi, API mode, the limited API; `babar_native.h` is the cdef.

Run by setup.py through cffi's setuptools integration. It takes the compiler's flags as they come: code for special
instructions says so function by function.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
SOURCES = ("sha256.c", "sha256_x86.c", "sha256_avx512.c", "sha256_arm.c", "dispatch.c", "pbkdf2.c", "certificate.c")


def declarations(header: str) -> str:
    """The header without what only a C preprocessor reads: includes and the guard."""
    lines = header.splitlines()
    kept = [line for line in lines if not line.startswith("#") or line.startswith("#define BABAR_HASH")]
    kept += [line for line in lines if line.startswith(("#define BABAR_NO", "#define BABAR_NOT"))]
    return "\n".join(kept)


ffibuilder = FFI()
ffibuilder.cdef(declarations((HERE / "babar_native.h").read_text(encoding="utf-8")))
ffibuilder.set_source(
    "babar_tls._native._babar_native",
    '#include "babar_native.h"',
    # setuptools wants paths relative to setup.py, which stands two folders above.
    sources=[f"babar_tls/_native/{name}" for name in SOURCES],
    include_dirs=["babar_tls/_native"],
    depends=[f"babar_tls/_native/{name}" for name in ("babar_native.h", "internal.h", "zero.h")],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
