"""Every kernel has the results of hashlib, for every length, alignment and step."""

from __future__ import annotations

import hashlib
import hmac
import random
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from babar_tls._native import fallback
from babar_tls.protocol.scram import keys_from_salted_password

from .helper import compiled, ffi, lib

pytestmark = pytest.mark.usefixtures("kernel")

BYTES = random.Random(1).randbytes(4096)  # noqa: S311 - test data
INITIAL = struct.unpack(">8I", bytes.fromhex("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"))


def expected(password: bytes, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password, salt, iterations)


def test_sha256_and_hmac_of_every_length() -> None:
    """SHA-256 and HMAC agree with hashlib and hmac for messages and keys of 0 to 300 bytes."""
    out = ffi.new("uint8_t[32]")
    for length in range(301):
        message = BYTES[length : 2 * length]
        lib.babar_sha256(message, length, out)
        assert bytes(ffi.buffer(out)) == hashlib.sha256(message).digest()
        for key_length in (0, 1, 63, 64, 65, 127, 128, 129, length):
            key = BYTES[:key_length]
            lib.babar_hmac_sha256(key, key_length, message, length, out)
            assert bytes(ffi.buffer(out)) == hmac.digest(key, message, "sha256")


def test_derivations_of_every_length() -> None:
    """PBKDF2 agrees with hashlib for every password to 135 bytes with every salt to 135, and 1 to 3 iterations."""
    for password_length in range(136):
        password = BYTES[:password_length]
        for salt_length in range(136):
            salt = BYTES[salt_length : 2 * salt_length]
            iterations = 1 + (password_length + salt_length) % 3
            derived = compiled.pbkdf2_hmac_sha256(password, salt, iterations)
            assert derived == expected(password, salt, iterations), (password_length, salt_length, iterations)


def test_derivations_at_random() -> None:
    """PBKDF2 agrees with hashlib in 100,000 random cases about the borders of a block, some of them long."""
    choose = random.Random(2)  # noqa: S311 - test data
    passwords = [*range(20), *range(55, 75), *range(119, 136), 300]
    salts = [*range(20), *range(55, 71), *range(119, 131), 300]
    for first in range(0, 100_000, 500):
        jobs = []
        for i in range(first, first + 500):
            at = choose.randrange(2000)
            iterations = choose.randint(1, 3) if i % 100 else choose.randint(4, 500)
            password, salt = BYTES[at : at + choose.choice(passwords)], BYTES[-at - 301 :][: choose.choice(salts)]
            jobs.append((password, salt, iterations))
        assert compiled.pbkdf2_hmac_sha256_many(jobs) == [expected(*job) for job in jobs]


@pytest.mark.parametrize("iterations", [4096, 16_383, 16_384, 16_385, 16_386, 32_769, 100_000])
def test_long_derivations(iterations: int) -> None:
    """PBKDF2 agrees with hashlib where the work is done in one slice, just more than one, and several."""
    assert compiled.pbkdf2_hmac_sha256(b"pencil", b"salt", iterations) == expected(b"pencil", b"salt", iterations)


@pytest.mark.parametrize("blocks", [0, 1, 2, 4, 8])
def test_unaligned_blocks_are_hashed(blocks: int) -> None:
    """The memory around the blocks is not changed."""
    data = ffi.from_buffer(BYTES)
    for offset in range(16):
        state = ffi.new("uint32_t[8]", INITIAL)
        lib.babar_sha256_blocks(state, data + offset, blocks)
        # The same by hashlib: Merkle-Damgard states cannot be read from it, so the padding is made a block of ours.
        message = BYTES[offset : offset + 64 * blocks]
        padding = b"\x80" + bytes(55) + struct.pack(">Q", 512 * blocks)
        lib.babar_sha256_blocks(state, padding, 1)
        assert struct.pack(">8I", *state) == hashlib.sha256(message).digest()


@pytest.mark.parametrize("most", [1, 2, 7, 64, 4000, 2**32 - 1])
def test_steps_of_any_size_give_the_result_of_one_step(most: int) -> None:
    derivation, out = ffi.new("babar_pbkdf2 *"), ffi.new("uint8_t[32]")
    for iterations in (1, 2, 3, 100, 4096):
        lib.babar_pbkdf2_begin(derivation, b"pencil", 6, b"salt", 4, iterations)
        remaining = iterations - 1
        while True:
            now = lib.babar_pbkdf2_step(derivation, most)
            assert now == max(remaining - most, 0)
            remaining = now
            if not now:
                break
        lib.babar_pbkdf2_finish(derivation, out)
        assert bytes(ffi.buffer(out)) == expected(b"pencil", b"salt", iterations)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    jobs=st.lists(st.tuples(st.binary(max_size=140), st.binary(max_size=140), st.integers(1, 60)), max_size=40),
    most=st.integers(1, 20),
)
def test_interleaved_derivations_give_the_results_of_single_ones(
    jobs: list[tuple[bytes, bytes, int]], most: int
) -> None:
    """With any lengths, counts and step sizes."""
    derivations, out = ffi.new("babar_pbkdf2[]", max(len(jobs), 1)), ffi.new("uint8_t[32]")
    for i, (password, salt, iterations) in enumerate(jobs):
        lib.babar_pbkdf2_begin(derivations + i, password, len(password), salt, len(salt), iterations)
    done = 0
    while True:
        unfinished = lib.babar_pbkdf2_step_many(derivations, len(jobs), most)
        done += most
        assert [derivations[i].remaining for i in range(len(jobs))] == [max(n - 1 - done, 0) for _, _, n in jobs]
        assert unfinished == sum(n - 1 > done for _, _, n in jobs)
        if not unfinished:
            break
    for i, job in enumerate(jobs):
        lib.babar_pbkdf2_finish(derivations + i, out)
        assert bytes(ffi.buffer(out)) == expected(*job)


@pytest.mark.parametrize("count", [*range(8), 95, 96, 97, 200])
def test_batch_gives_the_results_of_its_jobs_in_order(count: int) -> None:
    jobs = [(b"p%d" % i, b"s%d" % i, 1 + i * i % 50) for i in range(count)]
    assert compiled.pbkdf2_hmac_sha256_many(jobs) == [expected(*job) for job in jobs]


@given(salted=st.binary(min_size=32, max_size=32))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_scram_keys_are_those_of_rfc_5802(salted: bytes) -> None:
    keys = compiled.scram_keys(salted)
    assert keys == fallback.scram_keys(salted)
    whole = keys_from_salted_password(salted)
    assert keys == (whole.client_key, whole.stored_key, whole.server_key)


@given(key=st.binary(max_size=200), message=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_hmac_is_the_same_with_and_without_the_helper(key: bytes, message: bytes) -> None:
    assert compiled.hmac_sha256(key, message) == fallback.hmac_sha256(key, message)


@pytest.mark.parametrize("module", [compiled, fallback])
@pytest.mark.parametrize("salted", [b"", b"x", bytes(31), bytes(33), bytes(64)], ids=len)
def test_salted_password_of_another_length_is_refused(module: Any, salted: bytes) -> None:
    with pytest.raises(ValueError, match="a SaltedPassword has 32 bytes"):
        module.scram_keys(salted)


@pytest.mark.parametrize("module", [compiled, fallback])
def test_zero_iterations_are_an_error(module: Any) -> None:
    """C, which cannot raise, does one iteration."""
    with pytest.raises(ValueError, match="iteration"):
        module.pbkdf2_hmac_sha256(b"p", b"s", 0)
    with pytest.raises(ValueError, match="iteration"):
        module.pbkdf2_hmac_sha256_many([(b"p", b"s", 0)])
    derivation = ffi.new("babar_pbkdf2 *")
    lib.babar_pbkdf2_begin(derivation, b"p", 1, b"s", 1, 0)
    assert derivation.remaining == 0


def test_sixteen_threads_do_not_disturb_one_another() -> None:
    start = threading.Barrier(16)

    def hammer(number: int) -> bool:
        start.wait()
        jobs = [(b"p%d" % number, b"s" * number, 1 + i) for i in range(50)]
        for _ in range(5):
            if compiled.pbkdf2_hmac_sha256_many(jobs) != [expected(*job) for job in jobs]:
                return False
            if any(compiled.pbkdf2_hmac_sha256(*job) != expected(*job) for job in jobs[:10]):
                return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(hammer, range(16)))


def test_gil_is_released() -> None:
    """Another thread runs during a single call."""
    derivation, inside, seen = ffi.new("babar_pbkdf2 *"), threading.Event(), []
    lib.babar_pbkdf2_begin(derivation, b"p", 1, b"s", 1, 2**31 - 1)

    def derive() -> None:
        inside.set()
        lib.babar_pbkdf2_step(derivation, 2_000_000)
        seen.append(None)

    thread = threading.Thread(target=derive)
    thread.start()
    inside.wait()
    progress = 0
    while not seen:
        progress += 1
    thread.join()
    # Holding the GIL, the call would let this thread in for the switch interval before it, and then not at all.
    assert lib.babar_pbkdf2_step(derivation, 0) == 2**31 - 2 - 2_000_000
    assert progress > 100_000


def test_derivation_stops_at_the_deadline() -> None:
    assert compiled.pbkdf2_hmac_sha256(b"p", b"s", 2**31 - 1, seconds=0.05) is None


def test_cancelled_derivation_returns_none() -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(None)
        return len(asked) == 3

    assert compiled.pbkdf2_hmac_sha256(b"p", b"s", 2**31 - 1, cancelled=cancelled) is None
    assert len(asked) == 3
