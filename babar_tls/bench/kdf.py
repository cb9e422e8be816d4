"""PBKDF2-HMAC-SHA-256, one derivation and many; what a call into the helper costs; the end-point hash.

The document that `run` returns, its times in seconds::

    {
      "workload": "kdf", "schema": 1,
      "babar_tls": version, "implementation": what the library itself uses here,
      "parameters": {"iterations": …, "rounds": …, "bulk": derivations in one bulk call},
      "machine": see `machine.describe_machine`, "load_after": the load when all was measured,
      "clock": {
        "hz": the clock that cycles are counted with, or null: an estimate in any case,
        "source": "cpuinfo", or "floor" where the time measured disproves that one: no chain of SHA extensions is
                  faster than its floor, so the clock is at least "least_hz",
        "cpuinfo_hz": …, "least_hz": …
      },
      "floor": {"cycles_per_compression": 130, "seconds": one derivation's at that clock, or null},
      "derivations": [
        {"name": …, "what": "one" | "bulk", "kernel": name | null,
         "wall": {"min": …, "median": …, …}, "cpu": {"min": …, "median": …, …},  # of one derivation
         "times_hashlib": hashlib's least wall time over this one's, "times_hashlib_median": the same of medians,
         "cycles_per_compression": by the least wall time and clock.hz, or null}
      ],
      "call": {"wall": …, "cpu": …, "overhead": least wall time less that of an empty loop} | null,
      "certificate": {"bytes": …, "key": "rsa2048"} | null,
      "end_point": [{"name": …, "wall": …, "cpu": …}],
      "targets": [{"name": …, "at_least" | "at_most": …, "measured": … | null, "met": true | false | null}],
      "missing": [{"name": what could not be measured, "reason": …}]
    }

The floor is that of x86's SHA extensions: 32 ``sha256rnds2``, each waiting 4 cycles for the one before, and 2 cycles to
add the state. It bounds one chain; bulk interleaves several and lies below.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from itertools import repeat
from typing import TYPE_CHECKING, Any

from .. import __version__, _native
from ..crypto import implementation, tls_server_end_point
from ..protocol.channel_binding import end_point_hash_name
from .figures import target
from .machine import cpu_clock_hz, describe_machine
from .timing import Case, Series, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType


#: Derivations in one bulk call.
BULK = 96
#: Of one compression in a chain on x86's SHA extensions.
FLOOR_CYCLES = 32 * 4 + 2

_COMPRESSIONS = 2  # an iteration: the inner and the outer hash
_SMALL = 500  # operations in one sample where one is too short for the clock
_PASSWORD, _SALT = b"correct horse battery staple", b"sixteen bytes ok"
_HELPER = "compiled helper"


def run(*, iterations: int = 4096, rounds: int = 200, advance: Callable[[int], object] | None = None) -> dict[str, Any]:
    """Measure.

    Args:
        iterations: Of each derivation.
        rounds: How often everything is measured.
        advance: Called with 1 after each round.

    Returns:
        The document; see above.
    """
    missing: list[dict[str, str]] = []
    machine, clocks = describe_machine(), [cpu_clock_hz()]
    compiled = _compiled(missing)
    derivations = _derivations(compiled, iterations, missing)
    certificate = _certificate(missing)
    small = _calls(compiled) + (_end_points(compiled, certificate) if certificate else [])
    with _selection_kept(compiled):
        series = measure([case for case, _, _ in derivations] + small, rounds, advance)
    clocks.append(cpu_clock_hz())
    clock = _clock([hz for hz in clocks if hz is not None], series, iterations)
    document: dict[str, Any] = {
        "workload": "kdf",
        "schema": 1,
        "babar_tls": __version__,
        "implementation": implementation(),
        "parameters": {"iterations": iterations, "rounds": rounds, "bulk": BULK},
        "machine": machine,
        "load_after": describe_machine()["load"],
        "clock": clock,
        "floor": {
            "cycles_per_compression": FLOOR_CYCLES,
            "seconds": FLOOR_CYCLES * _COMPRESSIONS * iterations / clock["hz"] if clock["hz"] else None,
        },
        "derivations": [
            {"name": case.name, "what": what, "kernel": kernel, **_figures(case.name, series, clock["hz"], iterations)}
            for case, what, kernel in derivations
        ],
        "call": _call(series),
        "certificate": {"bytes": len(certificate), "key": "rsa2048"} if certificate else None,
        "end_point": [{"name": name, **series[name].as_dict()} for name in series if name.startswith("end-point")],
        "missing": missing,
    }
    document["targets"] = _targets(document)
    return document


# --- What is measured -------------------------------------------------------------------------------------------------

_Derivation = tuple[Case, str, "str | None"]


def _derivations(compiled: ModuleType | None, iterations: int, missing: list[dict[str, str]]) -> list[_Derivation]:
    """Every way to derive a key: the case, "one" or "bulk", and the kernel if it is ours."""
    cases: list[_Derivation] = [
        (Case(name="hashlib", call=lambda: hashlib.pbkdf2_hmac("sha256", _PASSWORD, _SALT, iterations)), "one", None)
    ]
    try:
        cases.append((Case(name="cryptography", call=_cryptography(iterations)), "one", None))
    except ImportError as exc:
        missing.append({"name": "cryptography", "reason": str(exc)})
    if compiled is None:
        return cases
    kernels = [name for name, capable in compiled.kernels().items() if capable]
    cases += [(_one(compiled, kernel, iterations), "one", kernel) for kernel in kernels]
    # The portable kernel does one after the other; the best one is first.
    cases.append((_bulk(compiled, kernels[0], iterations), "bulk", kernels[0]))
    return cases


def _cryptography(iterations: int) -> Callable[[], object]:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - optional
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC  # noqa: PLC0415

    return lambda: PBKDF2HMAC(SHA256(), 32, _SALT, iterations).derive(_PASSWORD)


def _one(compiled: ModuleType, kernel: str, iterations: int) -> Case:
    return Case(
        name=kernel,
        prepare=lambda: compiled.select(kernel),
        call=lambda: compiled.pbkdf2_hmac_sha256(_PASSWORD, _SALT, iterations),
    )


def _bulk(compiled: ModuleType, kernel: str, iterations: int) -> Case:
    jobs = [(_PASSWORD, os.urandom(16), iterations) for _ in range(BULK)]
    return Case(
        name=f"{kernel}, bulk",
        operations=BULK,
        prepare=lambda: compiled.select(kernel),
        call=lambda: compiled.pbkdf2_hmac_sha256_many(jobs),
    )


def _calls(compiled: ModuleType | None) -> list[Case]:
    """A call that does nothing, with a pointer and a number to convert and the GIL to release; and the loop around."""
    if compiled is None:
        return []
    wipe, memory = compiled.lib.babar_wipe, compiled.ffi.new("uint8_t[1]")

    def call() -> None:
        for _ in repeat(None, _SMALL):
            wipe(memory, 0)

    def loop() -> None:
        for _ in repeat(None, _SMALL):
            pass

    return [Case(name="call", call=call, operations=_SMALL), Case(name="loop", call=loop, operations=_SMALL)]


def _end_points(compiled: ModuleType | None, der: bytes) -> list[Case]:
    functions: dict[str, Callable[[bytes], object]] = {
        "tls_server_end_point": tls_server_end_point,
        "pure Python": lambda der: hashlib.new(end_point_hash_name(der), der).digest(),
        "hashlib.sha256 alone": lambda der: hashlib.sha256(der).digest(),
    }
    if compiled is not None:
        functions[_HELPER] = compiled.end_point_hash
    return [_end_point(name, function, der) for name, function in functions.items()]


def _end_point(name: str, function: Callable[[bytes], object], der: bytes) -> Case:
    def call() -> None:
        for _ in repeat(None, _SMALL):
            function(der)

    return Case(name=f"end-point: {name}", call=call, operations=_SMALL)


def _certificate(missing: list[dict[str, str]]) -> bytes | None:
    """The DER of an RSA certificate of some 1.2 KB."""
    try:
        from ..testing import CertificateAuthority  # noqa: PLC0415 - needs an extra
    except ImportError as exc:
        missing.append({"name": "end-point hash", "reason": str(exc).partition("\n")[0]})
        return None
    names = [f"replica-{number:02}.billing.db.example.com" for number in range(10)]
    return CertificateAuthority("rsa2048").issue(*names, key="rsa2048").der


def _compiled(missing: list[dict[str, str]]) -> ModuleType | None:
    """The helper if it was built, whether or not the library uses it here."""
    try:
        from .._native import compiled  # noqa: PLC0415 - optional
    except ImportError as exc:
        missing.append({"name": _HELPER, "reason": _native.PROBLEM or str(exc)})
        return None
    return compiled


@contextmanager
def _selection_kept(compiled: ModuleType | None) -> Iterator[None]:
    before = compiled.selected() if compiled is not None else None
    try:
        yield
    finally:
        if compiled is not None:
            compiled.select(before)


# --- What it means ----------------------------------------------------------------------------------------------------


def _clock(told: list[float], series: dict[str, Series], iterations: int) -> dict[str, Any]:
    chain = series.get("sha-ni")
    least = FLOOR_CYCLES * _COMPRESSIONS * iterations / chain.minimum if chain is not None else None
    cpuinfo = max(told, default=None)
    disproved = least is not None and (cpuinfo is None or cpuinfo < least)
    return {
        "hz": least if disproved else cpuinfo,
        "source": "floor" if disproved else "cpuinfo" if cpuinfo else None,
        "cpuinfo_hz": cpuinfo,
        "least_hz": least,
    }


def _figures(name: str, series: dict[str, Series], hz: float | None, iterations: int) -> dict[str, Any]:
    own, reference = series[name], series["hashlib"]
    return {
        **own.as_dict(),
        "times_hashlib": reference.minimum / own.minimum,
        "times_hashlib_median": reference.median / own.median,
        "cycles_per_compression": own.minimum * hz / (_COMPRESSIONS * iterations) if hz else None,
    }


def _call(series: dict[str, Series]) -> dict[str, Any] | None:
    if "call" not in series:
        return None
    return {**series["call"].as_dict(), "overhead": max(0.0, series["call"].minimum - series["loop"].minimum)}


def _targets(document: dict[str, Any]) -> list[dict[str, Any]]:
    ours = {
        item["what"]: item for item in reversed(document["derivations"]) if item["kernel"] not in (None, "portable")
    }
    hashed = {item["name"]: item for item in document["end_point"]}
    helper = hashed.get(f"end-point: {_HELPER}")
    call = document["call"]
    return [
        target("one derivation, times hashlib", ours["one"]["times_hashlib"] if "one" in ours else None, at_least=3.0),
        target("bulk, times hashlib", ours["bulk"]["times_hashlib"] if "bulk" in ours else None, at_least=7.0),
        target("a call into the helper, seconds", call["overhead"] if call else None, at_most=0.2e-6),
        target("end-point hash, seconds", helper["wall"]["min"] if helper else None, at_most=1.5e-6),
    ]
