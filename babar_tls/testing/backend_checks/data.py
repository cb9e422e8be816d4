"""Checks of plaintext and ciphertext: sizes and kinds of buffers."""

from __future__ import annotations

import array
import hashlib
from typing import TYPE_CHECKING

from babar_tls.testing.backend_checks._check import Trial, check, same

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

_LARGE = 1 << 24
_PATTERN = hashlib.shake_128(b"babar").digest(1 << 20)


@check(per_version=True)
def large_writes(trial: Trial, version: str) -> None:
    """All of a write of 16 MiB arrives."""
    data = _PATTERN * (_LARGE >> 20)
    pair = trial.pair(version=version).handshake()
    pair.client.write(data)
    same(pair.server_read(), data, "the server received")


@check(per_version=True, cases={f"buffer of {size}": size for size in (_LARGE, 1 << 16, 1000)})
def large_reads(trial: Trial, version: str, size: int) -> None:
    """16 MiB that arrive at once are read completely, with a large buffer and with a small one."""
    pair = trial.pair(version=version).handshake()
    sent = _PATTERN * (_LARGE >> 20) if size > 1000 else _PATTERN[:300_000]
    pair.server_write(sent)
    same(pair.read(size), sent, "the client read")


@check(per_version=True)
def tiny_reads(trial: Trial, version: str) -> None:
    """Reading byte by byte, across records, loses nothing."""
    pair = trial.pair(version=version).handshake()
    data = _PATTERN[:20_000]
    for start in range(0, len(data), 7000):
        pair.server_write(data[start : start + 7000])
    same(pair.read(1), data, "the client read")


@check(per_version=True)
def sizes(trial: Trial, version: str) -> None:
    """Writes of 0 bytes, 1 byte, and about the length of a record arrive unchanged and in order."""
    pair = trial.pair(version=version).handshake()
    for size in (0, 1, 2, 16383, 16384, 16385, 32768, 65537):
        pair.client.write(_PATTERN[:size])
        same(pair.server_read(), _PATTERN[:size], "the server received")


@check()
def many_writes(trial: Trial) -> None:
    """Many writes before anything is sent arrive in order."""
    pair = trial.pair().handshake()
    words = [b"%d;" % index for index in range(2000)]
    for word in words:
        pair.client.write(word)
    same(pair.server_read(), b"".join(words), "the server received")


@check()
def both_ways_at_once(trial: Trial) -> None:
    """Data that arrive between writes are kept until they are read."""
    pair = trial.pair().handshake()
    got = b""
    for index in range(50):
        pair.server_write(b"down%d;" % index)
        pair.client.write(b"up%d;" % index)
        if index % 3 == 0:
            got += pair.read(5)
        same(pair.server_read(), b"up%d;" % index, "the server received")
    got += pair.read()
    same(got, b"".join(b"down%d;" % index for index in range(50)), "the client read")


_KINDS: dict[str, Callable[[bytes], Buffer]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "slice of a memoryview": lambda data: memoryview(b"xx" + data + b"yy")[2:-2],
    "memoryview of 32-bit numbers": lambda data: memoryview(array.array("I", data)),
    "array of 64-bit numbers": lambda data: array.array("Q", data),
}


@check(cases=_KINDS)
def kinds_of_buffers(trial: Trial, make: Callable[[bytes], Buffer]) -> None:
    """write() and receive_data() accept any buffer; the length of a view of numbers is counted in bytes."""
    data = _PATTERN[:4000]
    pair = trial.pair().handshake()
    with trial.case("write()"):
        pair.client.write(make(data))
        same(pair.server_read(), data, "the server received")
    with trial.case("receive_data()"):
        record = pair.server_record(data)
        whole = len(record) // 8 * 8
        pair.client.receive_data(make(record[:whole]))
        pair.client.receive_data(record[whole:])
        same(pair.read(), data, "the client read")


@check()
def buffers_are_copied(trial: Trial) -> None:
    """The caller may change or resize a buffer when a call with it has returned."""
    pair = trial.pair().handshake()
    out = bytearray(b"original")
    pair.client.write(out)
    out[:] = b"modified"
    out.extend(b"!")
    same(pair.server_read(), b"original", "write() kept the caller's buffer: the server received")
    record = bytearray(pair.server_record(b"original"))
    pair.client.receive_data(record)
    record[:] = bytes(len(record))
    record.extend(b"!")
    same(pair.read(), b"original", "receive_data() kept the caller's buffer: the client read")
    into = bytearray(8)
    pair.server_write(b"12345678")
    pair.client.read_into(memoryview(into))
    into.extend(b"!")


@check()
def reads_stay_inside(trial: Trial) -> None:
    """read_into() changes only the buffer that it was given, and no more bytes than it returns."""
    pair = trial.pair().handshake()
    pair.server_write(b"abc")
    room = bytearray(b"." * 20)
    count = pair.client.read_into(memoryview(room)[5:15])
    assert count == 3, f"read_into() returned {count!r} for 3 bytes"
    same(room, b".....abc............", "the bytes around the buffer are now")


@check(per_version=True)
def no_data(trial: Trial, version: str) -> None:
    """read_into() returns None when more ciphertext is needed, and not 0, which is close_notify."""
    pair = trial.pair(version=version).handshake()
    buffer = memoryview(bytearray(10))
    count = pair.client.read_into(buffer)
    assert count is None, f"read_into() returned {count!r} before any data"
    record = pair.server_record(b"here")
    pair.client.receive_data(record[:-1])
    count = pair.client.read_into(buffer)
    assert count is None, f"read_into() returned {count!r} for a part of a record"
    pair.client.receive_data(record[-1:])
    same(pair.read(), b"here", "the client read")


@check()
def empty_input(trial: Trial) -> None:
    """receive_data(b'') changes nothing, and is not the end of the stream."""
    pair = trial.pair()
    pair.client.receive_data(b"")
    pair.handshake()
    pair.client.receive_data(b"")
    count = pair.client.read_into(memoryview(bytearray(10)))
    assert count is None, f"read_into() returned {count!r}"
    pair.server_write(b"here")
    same(pair.read(), b"here", "the client read")
