"""PBKDF2-HMAC-SHA-256, one derivation and many; a call into the compiled helper; the end-point hash.

The document, besides the fields in `babar_tls.bench.document` (its ``cases`` are empty)::

    "parameters": {"iterations": …, "rounds": …, "bulk": derivations in one bulk call},
    "clock": {
      "hz": the clock rate for the cycles, an estimate | null,
      "source": "cpuinfo" | "floor" if the measured time disproves that one: no chain of SHA extensions is faster than
                its floor, so the clock rate is at least "least_hz" | null,
      "cpuinfo_hz": …, "least_hz": …
    },
    "floor": {"cycles_per_compression": 130, "seconds": of one derivation at that clock rate | null},
    "derivations": [
      {"name": …, "what": "one" | "bulk", "kernel": name | null,
       "wall": {"min": …, "median": …, …}, "cpu": {"min": …, "median": …, …},  # of one derivation
       "times_hashlib": least wall time of hashlib divided by that of this one, "times_hashlib_median": by medians,
       "cycles_per_compression": by the least wall time and clock.hz | null}
    ],
    "call": {"wall": …, "cpu": …, "overhead": least wall time without that of an empty loop} | null,
    "certificate": {"bytes": …, "key": "rsa2048"} | null,
    "end_point": [{"name": …, "wall": …, "cpu": …}]

The floor is that of x86's SHA extensions: 32 ``sha256rnds2``, each of which waits 4 cycles for the one before, and 2
cycles to add the state. It limits one chain; bulk interleaves several chains and is faster.
"""

from __future__ import annotations

import hashlib
import os
import timeit
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ... import _native
from ...crypto import tls_server_end_point
from ...diagnostics.counts import count
from ...protocol.channel_binding import end_point_hash_name
from ..document import DocumentBuilder
from ..machine import cpu_clock_hz
from ..tables import Table, number
from ..timing import Advance, Case, Series, no_progress, time_cases
from ..workload import Option, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType


#: Derivations in one bulk call.
BULK = 96
#: Of one compression in a chain with x86's SHA extensions.
FLOOR_CYCLES = 32 * 4 + 2

_COMPRESSIONS = 2  # of one iteration: the inner and the outer hash
_SMALL = 500  # operations in one sample, because the clock is too coarse for a single one
_PASSWORD, _SALT = b"correct horse battery staple", b"sixteen bytes ok"
_HELPER = "compiled helper"


def measure(*, iterations: int, rounds: int, advance: Advance = no_progress) -> dict[str, Any]:
    """Measure; `iterations` is that of each derivation."""
    document = DocumentBuilder("kdf", {"iterations": iterations, "rounds": rounds, "bulk": BULK})
    rates = [cpu_clock_hz()]
    compiled = _compiled(document)
    derivations = _derivations(compiled, iterations, document)
    certificate = _certificate(document)
    short = _short_operations(compiled, certificate)
    with _selection_restored(compiled):
        series = time_cases([case for case, _, _ in derivations] + short, rounds, advance)
    rates.append(cpu_clock_hz())
    clock = _clock([hz for hz in rates if hz is not None], series, iterations)
    hz = clock["hz"]
    return document.finish(
        [],
        clock=clock,
        floor={
            "cycles_per_compression": FLOOR_CYCLES,
            "seconds": FLOOR_CYCLES * _COMPRESSIONS * iterations / hz if hz else None,
        },
        derivations=[
            {"name": case.name, "what": what, "kernel": kernel, **_figures(case.name, series, hz, iterations)}
            for case, what, kernel in derivations
        ],
        call=_call(series),
        certificate={"bytes": len(certificate), "key": "rsa2048"} if certificate else None,
        end_point=[{"name": name, **series[name].as_dict()} for name in series if name.startswith("end-point")],
    )


# --- Cases ------------------------------------------------------------------------------------------------------------

_Derivation = tuple[Case, str, "str | None"]


def _derivations(compiled: ModuleType | None, iterations: int, document: DocumentBuilder) -> list[_Derivation]:
    """Return each way to derive a key: the case, "one" or "bulk", and the kernel of the compiled helper."""
    cases: list[_Derivation] = [
        (Case(name="hashlib", call=lambda: hashlib.pbkdf2_hmac("sha256", _PASSWORD, _SALT, iterations)), "one", None)
    ]
    try:
        cases.append((Case(name="cryptography", call=_cryptography(iterations)), "one", None))
    except ImportError as exc:
        document.add_missing("cryptography", exc)
    if compiled is None:
        return cases
    kernels = [name for name, is_usable in compiled.kernels().items() if is_usable]
    one = partial(compiled.pbkdf2_hmac_sha256, _PASSWORD, _SALT, iterations)
    cases += [(Case(name=name, prepare=partial(compiled.select, name), call=one), "one", name) for name in kernels]
    best = kernels[0]
    many = partial(compiled.pbkdf2_hmac_sha256_many, [(_PASSWORD, os.urandom(16), iterations) for _ in range(BULK)])
    bulk = Case(name=f"{best}, bulk", operations=BULK, prepare=partial(compiled.select, best), call=many)
    return [*cases, (bulk, "bulk", best)]


def _cryptography(iterations: int) -> Callable[[], object]:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - optional
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC  # noqa: PLC0415 - optional

    return lambda: PBKDF2HMAC(SHA256(), 32, _SALT, iterations).derive(_PASSWORD)


def _short_operations(compiled: ModuleType | None, der: bytes | None) -> list[Case]:
    cases = []
    functions: dict[str, Callable[[bytes], object]] = {
        "tls_server_end_point": tls_server_end_point,
        "pure Python": lambda der: hashlib.new(end_point_hash_name(der), der).digest(),
        "only hashlib.sha256": lambda der: hashlib.sha256(der).digest(),
    }
    if compiled is not None:
        functions[_HELPER] = compiled.end_point_hash
        # A call without work, which converts a pointer and a number and releases the GIL.
        memory = compiled.ffi.new("uint8_t[1]")
        cases = [
            _repeat("call", "wipe(memory, 0)", wipe=compiled.lib.babar_wipe, memory=memory),
            _repeat("loop", "pass"),
        ]
    if der is not None:
        cases += [
            _repeat(f"end-point: {name}", "function(der)", function=function, der=der)
            for name, function in functions.items()
        ]
    return cases


def _repeat(name: str, statement: str, **names: object) -> Case:
    """Return a case whose call executes a statement many times."""
    timer = timeit.Timer(statement, globals=names)
    return Case(name=name, call=partial(timer.timeit, _SMALL), operations=_SMALL)


def _certificate(document: DocumentBuilder) -> bytes | None:
    """Return the DER of an RSA certificate of about 1.2 KB."""
    try:
        from ...testing import CertificateAuthority  # noqa: PLC0415 - needs an extra
    except ImportError as exc:
        document.add_missing("end-point hash", exc)
        return None
    names = [f"replica-{index:02}.billing.db.example.com" for index in range(10)]
    return CertificateAuthority("rsa2048").issue(*names, key="rsa2048").der


def _compiled(document: DocumentBuilder) -> ModuleType | None:
    """Return the compiled helper if it was built, even if the library does not use it here."""
    try:
        from ..._native import compiled  # noqa: PLC0415 - optional
    except ImportError as exc:
        document.add_missing(_HELPER, _native.PROBLEM or exc)
        return None
    return compiled


@contextmanager
def _selection_restored(compiled: ModuleType | None) -> Iterator[None]:
    before = compiled.selected() if compiled is not None else None
    try:
        yield
    finally:
        if compiled is not None:
            compiled.select(before)


# --- Figures ----------------------------------------------------------------------------------------------------------


def _clock(known: list[float], series: dict[str, Series], iterations: int) -> dict[str, Any]:
    chain = series.get("sha-ni")
    least = FLOOR_CYCLES * _COMPRESSIONS * iterations / min(chain.wall) if chain is not None else None
    cpuinfo = max(known, default=None)
    is_disproved = least is not None and (cpuinfo is None or cpuinfo < least)
    return {
        "hz": least if is_disproved else cpuinfo,
        "source": "floor" if is_disproved else "cpuinfo" if cpuinfo else None,
        "cpuinfo_hz": cpuinfo,
        "least_hz": least,
    }


def _figures(name: str, series: dict[str, Series], hz: float | None, iterations: int) -> dict[str, Any]:
    figures, hashlib_wall = series[name].as_dict(), series["hashlib"].as_dict()["wall"]
    wall = figures["wall"]
    return {
        **figures,
        "times_hashlib": hashlib_wall["min"] / wall["min"],
        "times_hashlib_median": hashlib_wall["median"] / wall["median"],
        "cycles_per_compression": wall["min"] * hz / (_COMPRESSIONS * iterations) if hz else None,
    }


def _call(series: dict[str, Series]) -> dict[str, Any] | None:
    if "call" not in series:
        return None
    return {**series["call"].as_dict(), "overhead": max(0.0, min(series["call"].wall) - min(series["loop"].wall))}


# --- Tables -----------------------------------------------------------------------------------------------------------


def tables(document: dict[str, Any]) -> list[Table]:
    """Return the table of derivations, and that of short operations."""
    found = [_derivations_table(document)]
    rows = [] if document["call"] is None else [("a call into the compiled helper", *_times(document["call"], 1e6))]
    rows += [(item["name"], *_times(item, 1e6)) for item in document["end_point"]]
    if rows:
        certificate = document["certificate"]
        what = f"; end-point hash of a certificate of {certificate['bytes']} bytes" if certificate else ""
        headings = ("one operation", "min, µs", "median, µs", "CPU min, µs")
        found.append(Table(f"Short operations{what}", headings, rows))
    return found


def _derivations_table(document: dict[str, Any]) -> Table:
    derivations, floor, parameters = document["derivations"], document["floor"], document["parameters"]
    rows = [
        (
            f"{item['kernel']}, {parameters['bulk']} at once" if item["what"] == "bulk" else item["name"],
            *_times(item, 1e3),
            number(item["times_hashlib"], 2),
            number(item["cycles_per_compression"]),
        )
        for item in derivations
    ]
    if floor["seconds"] is not None and any(item["kernel"] == "sha-ni" for item in derivations):
        factor = derivations[0]["wall"]["min"] / floor["seconds"]
        cycles = number(floor["cycles_per_compression"])
        seconds = number(floor["seconds"], 3, scale=1e3)
        rows.append(("floor of one SHA-NI chain", seconds, "", "", f"{factor:.2f}", cycles))
    noise = derivations[0]["wall"]["median"] / derivations[0]["wall"]["min"]
    return Table(
        f"PBKDF2-HMAC-SHA-256, {parameters['iterations']} iterations",
        ("one derivation", "min, ms", "median, ms", "CPU min, ms", "x hashlib", "cycles"),
        rows,
        f"{_describe_clock(document['clock'])} {count(parameters['rounds'], 'round')}, each of which measures "
        f"everything in turns. Noise: the median of hashlib is {noise:.2f} times its minimum.",
    )


def _times(item: dict[str, Any], scale: float) -> Sequence[str]:
    values = (item["wall"]["min"], item["wall"]["median"], item["cpu"]["min"])
    return [number(value, 3, scale=scale) for value in values]


def _describe_clock(clock: dict[str, Any]) -> str:
    if clock["hz"] is None:
        return "Cycles are unknown, because this system does not report the clock rate of the CPU."
    gigahertz = f"{clock['hz'] / 1e9:.2f} GHz"
    if clock["source"] == "cpuinfo":
        return f"Cycles of one compression at {gigahertz}, an estimate: the clock rate in /proc/cpuinfo."
    known = clock["cpuinfo_hz"]
    too_slow = known and f"/proc/cpuinfo has {known / 1e9:.2f} GHz, too slow for the measured time"
    cpuinfo = too_slow or "by the measured time"
    return (
        f"Cycles of one compression at {gigahertz}, an estimate: {cpuinfo}, because no SHA-NI chain is faster than its "
        "floor. So sha-ni is at the floor by definition, and the others are in proportion."
    )


WORKLOAD = Workload(
    name="kdf",
    summary="PBKDF2-HMAC-SHA-256 in hashlib, cryptography and the compiled helper; a call; the end-point hash",
    measure=measure,
    tables=tables,
    rounds=200,
    quick_rounds=20,
    options=(Option("iterations", 4096, "of each derivation"),),
)
