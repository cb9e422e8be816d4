"""Secrets are wiped in memory, and the optimizer does not remove the wipes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .helper import compiled, ffi, lib

SOURCES = Path(__file__).parents[2] / "babar_tls" / "_native"

#: Overwriting with zeros: a call of memset, a string instruction, or stores of a register that was zeroed.
WIPE = re.compile(
    r"\bmemset|\brep stos|\bmov[uad]+p[sd]\s+%xmm|\bmovdq[au]\s+%xmm|\bmov[lq]\s+\$0x0,|\bst[pr]\s+(xzr|q)"
)


def test_finished_derivation_is_wiped(kernel: str) -> None:
    assert kernel
    derivation, out = ffi.new("babar_pbkdf2 *"), ffi.new("uint8_t[32]")
    lib.babar_pbkdf2_begin(derivation, b"pencil", 6, b"salt", 4, 10)
    lib.babar_pbkdf2_step(derivation, 5)
    assert any(ffi.buffer(derivation))
    lib.babar_pbkdf2_finish(derivation, out)
    assert bytes(ffi.buffer(derivation)) == bytes(ffi.sizeof("babar_pbkdf2"))
    assert any(out)


@pytest.mark.parametrize("length", [0, 1, 7, 64, 100])
def test_wipe_overwrites_exactly_its_buffer(length: int) -> None:
    memory = ffi.new("uint8_t[102]", b"\xff" * 102)
    lib.babar_wipe(memory + 1, length)
    assert bytes(ffi.buffer(memory)) == b"\xff" + bytes(length) + b"\xff" * (101 - length)


@pytest.mark.parametrize("how", ["finished", "cancelled", "failed"])
def test_memory_of_a_derivation_is_wiped_in_every_case(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Remembering:
        buffer, sizeof = staticmethod(ffi.buffer), staticmethod(ffi.sizeof)

        @staticmethod
        def new(kind: str) -> Any:
            made.append(ffi.new(kind))
            return made[-1]

    def cancelled() -> bool:
        assert any(ffi.buffer(made[0]))
        if how == "failed":
            raise KeyboardInterrupt
        return how == "cancelled"

    monkeypatch.setattr(compiled, "ffi", Remembering)
    try:
        derived = compiled.pbkdf2_hmac_sha256(b"pencil", b"salt", 20_000, cancelled=cancelled)
    except KeyboardInterrupt:
        derived = None
    assert (derived is not None) == (how == "finished")
    assert len(made) == 2
    assert not any(any(bytes(ffi.buffer(memory))) for memory in made)


@pytest.mark.skipif(not SOURCES.joinpath("pbkdf2.c").exists(), reason="the sources are not installed")
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("level", ["-O2", "-O3"])
def test_wipes_are_not_removed_by_the_optimizer(compiler: str, level: str, tmp_path: Path) -> None:
    if not shutil.which(compiler) or not shutil.which("objdump"):
        pytest.skip(f"no {compiler} or no objdump")

    def wipes(function: str, *options: str) -> int:
        target = tmp_path / "object.o"
        command = [compiler, "-std=c99", level, *options, "-c", str(SOURCES / "pbkdf2.c"), "-o", str(target)]
        subprocess.run(command, check=True, timeout=60)  # noqa: S603 - a compiler, on our own source
        listing = subprocess.run(  # noqa: S603 - a tool, on our own object
            ["objdump", "-dr", "--no-show-raw-insn", f"--disassemble={function}", str(target)],  # noqa: S607 - wherever it is
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
        ).stdout
        assert f"<{function}>:" in listing
        return len(WIPE.findall(listing))

    nothing = tmp_path / "zero.h"
    nothing.write_text(
        "#define BABAR_ZERO_H\n#include <string.h>\n#define babar_zero(memory, length) ((void)(memory))\n"
    )
    # Functions of one file that call only those of others, so that nothing is inlined here and not there.
    for function in ("babar_pbkdf2_begin", "babar_pbkdf2_finish", "babar_scram_keys", "babar_wipe"):
        assert wipes(function) > wipes(function, "-include", str(nothing)), function
