"""Checks of plaintext and ciphertext: sizes and kinds of buffers."""

from __future__ import annotations

import array
import hashlib
from typing import TYPE_CHECKING

from babar_tls.testing.backend_checks._check import Trial, check

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LARGE = 1 << 24


def _pattern(size: int) -> bytes:
    return hashlib.shake_128(b"babar").digest(min(size, 1 << 20)) * (size >> 20 or 1)


def _same(got: bytes, wanted: bytes, what: str) -> None:
    if got != wanted:
        first = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))  # noqa: B905
        raise AssertionError(f"{what}: {len(got)} bytes for {len(wanted)}, the first difference at byte {first}")


@check()
def large_writes(trial: Trial) -> None:
    """All of a write of 16 MiB arrives."""
    data = _pattern(_LARGE)
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version).handshake()
            pair.client.write(data)
            _same(pair.hear(), data, "the server got")


@check()
def large_reads(trial: Trial) -> None:
    """16 MiB that come at once are read whole, with a large buffer and with a small one."""
    data = _pattern(_LARGE)
    for version in trial.versions:
        for size in (_LARGE, 1 << 16, 1000):
            with trial.case(f"{version}, buffer of {size}"):
                pair = trial.pair(version=version).handshake()
                sent = data if size > 1000 else data[:300_000]
                pair.say(sent)
                _same(pair.read(size), sent, "read")


@check()
def tiny_reads(trial: Trial) -> None:
    """Reading byte by byte, across records, loses nothing."""
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version).handshake()
            data = _pattern(1 << 20)[:20_000]
            for start in range(0, len(data), 7000):
                pair.say(data[start : start + 7000])
            _same(pair.read(1), data, "read")


@check()
def sizes(trial: Trial) -> None:
    """Writes of nothing, of one byte, and of a record's length and its neighbours arrive as they are, in order."""
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version).handshake()
            pair.hear()
            for size in (0, 1, 2, 16383, 16384, 16385, 32768, 65537):
                data = _pattern(1 << 20)[:size]
                pair.client.write(data)
                _same(pair.hear(), data, f"of {size} bytes the server got")


@check()
def many_writes(trial: Trial) -> None:
    """Many writes before anything is sent arrive in order."""
    pair = trial.pair().handshake()
    words = [b"%d;" % index for index in range(2000)]
    for word in words:
        pair.client.write(word)
    _same(pair.hear(), b"".join(words), "the server got")


@check()
def both_ways_at_once(trial: Trial) -> None:
    """Data that arrive between writes are kept until they are read."""
    pair = trial.pair().handshake()
    got = bytearray()
    for index in range(50):
        pair.say(b"down%d;" % index)
        pair.client.write(b"up%d;" % index)
        if index % 3 == 0:
            got += pair.read(5)
        heard = pair.hear()
        assert heard == b"up%d;" % index, f"the server got {heard!r} for the write number {index}"
    got += pair.read()
    _same(bytes(got), b"".join(b"down%d;" % index for index in range(50)), "read")


@check()
def kinds_of_buffers(trial: Trial) -> None:
    """write() and receive_data() accept any buffer; the length of a view of numbers is counted in bytes."""
    data = _pattern(1 << 20)[:4000]
    kinds: dict[str, Buffer] = {
        "bytes": data,
        "bytearray": bytearray(data),
        "memoryview": memoryview(data),
        "slice of a memoryview": memoryview(b"xx" + data + b"yy")[2:-2],
        "memoryview of 32-bit numbers": memoryview(array.array("I", data)),
        "array of 64-bit numbers": array.array("Q", data),
    }
    pair = trial.pair().handshake()
    pair.hear()
    for kind, buffer in kinds.items():
        with trial.case(f"write({kind})"):
            pair.client.write(buffer)
            _same(pair.hear(), data, "the server got")
    for kind in kinds:
        with trial.case(f"receive_data({kind})"):
            pair = trial.pair().handshake()
            pair.carry()
            pair.server.write(data)
            record = pair._from_server.read()
            whole = len(record) // 8 * 8
            view = memoryview(record[:whole])
            pair.client.receive_data(_as_kind(kind, view))
            pair.client.receive_data(record[whole:])
            _same(pair.read(), data, "read")


def _as_kind(kind: str, view: memoryview) -> Buffer:
    if "numbers" in kind:
        return view.cast("I" if "32" in kind else "Q")
    return bytes(view) if kind == "bytes" else bytearray(view) if kind == "bytearray" else view


@check()
def buffers_are_copied(trial: Trial) -> None:
    """The caller may change or resize a buffer when a call with it has returned."""
    pair = trial.pair().handshake()
    pair.hear()
    out = bytearray(b"original")
    pair.client.write(out)
    out[:] = b"modified"
    out.extend(b"!")
    heard = pair.hear()
    assert heard == b"original", f"write() kept the caller's buffer: the server got {heard!r}"
    pair.server.write(b"original")
    record = bytearray(pair._from_server.read())
    pair.client.receive_data(record)
    record[:] = bytes(len(record))
    record.extend(b"!")
    read = pair.read()
    assert read == b"original", f"receive_data() kept the caller's buffer: read {read!r}"
    into = bytearray(8)
    pair.say(b"12345678")
    pair.client.read_into(memoryview(into))
    into.extend(b"!")


@check()
def reads_stay_inside(trial: Trial) -> None:
    """read_into() writes only into the buffer that it was given, and no more than it returns."""
    pair = trial.pair().handshake()
    pair.say(b"abc")
    room = bytearray(b"." * 20)
    count = pair.client.read_into(memoryview(room)[5:15])
    assert count == 3, f"read_into() returned {count!r} for 3 bytes"
    assert bytes(room) == b".....abc............", f"the bytes around the buffer are now {bytes(room)!r}"


@check()
def no_data(trial: Trial) -> None:
    """read_into() returns None when more ciphertext is needed, and not 0, which is close_notify."""
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version).handshake()
            pair.carry()
            buffer = memoryview(bytearray(10))
            count = pair.client.read_into(buffer)
            assert count is None, f"read_into() returned {count!r} before any data"
            pair.server.write(b"here")
            record = pair._from_server.read()
            pair.client.receive_data(record[:-1])
            count = pair.client.read_into(buffer)
            assert count is None, f"read_into() returned {count!r} for a part of a record"
            pair.client.receive_data(record[-1:])
            read = pair.read()
            assert read == b"here", f"read {read!r} for b'here'"


@check()
def empty_input(trial: Trial) -> None:
    """receive_data(b'') changes nothing, and is not the end of the stream."""
    pair = trial.pair()
    pair.client.receive_data(b"")
    pair.handshake()
    pair.client.receive_data(b"")
    count = pair.client.read_into(memoryview(bytearray(10)))
    assert count is None, f"read_into() returned {count!r}"
    pair.say(b"here")
    assert pair.read() == b"here", "the next data are not read"
