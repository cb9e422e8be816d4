"""The primitives are the standards', by their published vectors."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls import _native, crypto
from babar_tls.crypto import derive_within, pbkdf2_hmac_sha256, saslprep, scram_keys, scram_verifier
from babar_tls.errors import AuthError, ConfigError, TimeoutError


@pytest.mark.parametrize(
    ("password", "salt", "iterations", "expected"),
    [
        (b"password", b"salt", 1, "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b"),
        (b"password", b"salt", 2, "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43"),
        (b"password", b"salt", 4096, "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"),
        (b"pass\0word", b"sa\0lt", 4096, "89b69d0516f829893c696226650a86878c029ac13ee276509d5ae58b6466a724"),
        (b"passwd", b"salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
    ],
)
def test_pbkdf2_vectors(password: bytes, salt: bytes, iterations: int, expected: str) -> None:
    """PBKDF2-HMAC-SHA-256 gives the vectors of RFC 7914 §11 and of the tests that follow RFC 6070."""
    assert pbkdf2_hmac_sha256(password, salt, iterations).hex()[:64] == expected


@given(st.binary(max_size=200), st.binary(max_size=100), st.integers(1, 20))
def test_pbkdf2_against_hashlib(password: bytes, salt: bytes, iterations: int) -> None:
    """Whatever implements it, the result is hashlib's."""
    assert pbkdf2_hmac_sha256(password, salt, iterations) == hashlib.pbkdf2_hmac("sha256", password, salt, iterations)


@pytest.mark.parametrize("iterations", [0, -1, 1 << 31])
def test_iterations_out_of_range(iterations: int) -> None:
    """A count of iterations is between 1 and 2³¹ - 1."""
    for derive in (
        lambda: pbkdf2_hmac_sha256(b"p", b"s", iterations),
        lambda: scram_keys("p", b"s", iterations),
        lambda: scram_verifier("p", iterations=iterations),
    ):
        with pytest.raises(ConfigError, match="iterations must be between 1 and 2147483647"):
            derive()


def test_keys() -> None:
    """The keys of RFC 7677's example, whose password has gone through SASLprep."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    keys = scram_keys("pen\u00adcil", salt, 4096)
    assert keys == scram_keys(b"pencil", salt, 4096)
    assert keys.stored_key == hashlib.sha256(keys.client_key).digest()
    assert base64.b64encode(keys.stored_key) == b"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    assert base64.b64encode(keys.server_key) == b"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="


def test_verifier() -> None:
    """A verifier is what PostgreSQL stores, here RFC 7677's example."""
    assert scram_verifier("pencil", salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_verifiers_have_fresh_salts() -> None:
    """Without a salt each verifier has 16 random bytes of its own."""
    verifiers = {scram_verifier("pencil", iterations=1) for _ in range(20)}
    assert len(verifiers) == 20
    assert {len(base64.b64decode(verifier.split("$")[1].split(":")[1])) for verifier in verifiers} == {16}


@pytest.mark.parametrize("password", ["", b""])
def test_no_verifier_for_nothing(password: str | bytes) -> None:
    """An empty password has no verifier."""
    with pytest.raises(ConfigError, match="empty password"):
        scram_verifier(password)


def test_derive_within() -> None:
    """Keys are derived if there is time, and a count that would take longer than that is not begun."""
    assert derive_within(b"pencil", b"salt", 4096, None) == scram_keys("pencil", b"salt", 4096)
    assert derive_within(b"pencil", b"salt", 60_000, 3600.0) == scram_keys("pencil", b"salt", 60_000)
    with pytest.raises(TimeoutError, match="timeout expired: the server requires 2147483647 PBKDF2 iterations"):
        derive_within(b"pencil", b"salt", 2**31 - 1, 0.001)


NO_BYTES: list[Any] = [0, 8, -1, True, None, 1.5, "text", [1, 2], (1, 2), object(), range(8)]


@pytest.mark.parametrize("junk", NO_BYTES, ids=lambda junk: type(junk).__name__)
def test_anything_but_bytes_is_refused(junk: Any) -> None:
    """`bytes(8)` is eight zero bytes, so that a number would be a password that somebody can guess."""
    calls = [
        lambda: pbkdf2_hmac_sha256(junk, b"salt", 1),
        lambda: pbkdf2_hmac_sha256(b"password", junk, 1),
        lambda: crypto.pbkdf2_hmac_sha256_many([(junk, b"salt", 1)]),
        lambda: crypto.pbkdf2_hmac_sha256_many([(b"password", b"salt", 1), (b"password", junk, 1)]),
        lambda: scram_keys("password", junk, 1),
        lambda: crypto.tls_server_end_point(junk),
    ]
    if junk is not None:
        calls.append(lambda: scram_verifier("password", salt=junk))
    if not isinstance(junk, str):
        calls += [lambda: saslprep(junk), lambda: scram_keys(junk, b"salt", 1), lambda: scram_verifier(junk)]
    for call in calls:
        with pytest.raises(ConfigError):
            call()


@pytest.mark.parametrize("junk", [1.0, "1", None, True, b"1"], ids=lambda junk: type(junk).__name__)
def test_iterations_of_another_type_are_refused(junk: Any) -> None:
    for call in (
        lambda: pbkdf2_hmac_sha256(b"p", b"s", junk),
        lambda: crypto.pbkdf2_hmac_sha256_many([(b"p", b"s", junk)]),
        lambda: scram_keys("p", b"s", junk),
        lambda: scram_verifier("p", iterations=junk),
    ):
        with pytest.raises(ConfigError, match="iterations must be an int"):
            call()


def test_bytes_like_objects_are_accepted() -> None:
    expected = scram_keys(b"password", b"salt", 1)
    for kind in (bytearray, memoryview):
        assert scram_keys(kind(b"password"), kind(b"salt"), 1) == expected
        assert pbkdf2_hmac_sha256(kind(b"p"), kind(b"s"), 1) == pbkdf2_hmac_sha256(b"p", b"s", 1)


def test_password_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ConfigError, match="lone surrogate"):
        scram_keys("s3cret\ud800", b"salt", 1)


def test_one_password_in_place_of_several_is_refused() -> None:
    with pytest.raises(ConfigError, match="sequence of passwords"):
        crypto.scram_verifiers("password")
    with pytest.raises(ConfigError, match="2 passwords and 1 salts"):
        crypto.scram_verifiers(["a", "b"], salts=[b"salt"])


def test_pbkdf2_that_the_fips_module_refuses_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> bytes:
        raise ValueError("[digital envelope routines] invalid iteration count")

    monkeypatch.setattr(_native.functions, "pbkdf2_hmac_sha256", refuse)
    with pytest.raises(AuthError, match=r"1 iterations and a salt of 16 bytes: .*invalid iteration count"):
        derive_within(b"password", bytes(16), 1, None)


def test_public_names() -> None:
    """Every public name is there, and the implementation has one."""
    assert all(hasattr(crypto, name) for name in crypto.__all__)
    assert crypto.implementation()
