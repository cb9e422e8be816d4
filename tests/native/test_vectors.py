"""SHA-256, HMAC and PBKDF2 have the results of published vectors, on every kernel."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .helper import compiled, ffi, lib

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("kernel")


def sha256(message: bytes) -> bytes:
    digest = ffi.new("uint8_t[32]")
    lib.babar_sha256(message, len(message), digest)
    return bytes(ffi.buffer(digest))


def vectors(*path: str) -> Iterator[dict[str, str]]:
    """Yield the paragraphs of a file of `name = value` lines."""
    package = pytest.importorskip("cryptography_vectors", reason="pip install cryptography-vectors")
    text = Path(package.__file__).parent.joinpath(*path).read_text(encoding="ascii")
    for paragraph in re.split(r"\n\s*\n", text):
        found = dict(re.findall(r"^(\w+) = (\S+)", paragraph, re.MULTILINE))
        if found:
            yield found


@pytest.mark.parametrize(("name", "count"), [("Short", 65), ("Long", 64)])
def test_sha256_of_nist_vectors(name: str, count: int) -> None:
    """Messages of up to 6,400 bytes."""
    tested = 0
    for vector in vectors("hashes", "SHA2", f"SHA256{name}Msg.rsp"):
        if "Len" in vector:
            message = bytes.fromhex(vector["Msg"])[: int(vector["Len"]) // 8]
            assert sha256(message).hex() == vector["MD"]
            tested += 1
    assert tested == count


def test_sha256_of_nist_monte_carlo_vectors() -> None:
    paragraphs = list(vectors("hashes", "SHA2", "SHA256Monte.rsp"))
    seed = bytes.fromhex(next(p["Seed"] for p in paragraphs if "Seed" in p))
    expected = [p["MD"] for p in paragraphs if "MD" in p]
    assert len(expected) == 100
    for md in expected:
        last = [seed, seed, seed]
        for _ in range(1000):
            last = [last[1], last[2], sha256(b"".join(last))]
        seed = last[2]
        assert seed.hex() == md


def test_sha256_of_a_million_bytes() -> None:
    """The third example of FIPS 180."""
    assert sha256(b"a" * 1_000_000).hex() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_hmac_of_rfc_4231() -> None:
    tested = [vector for vector in vectors("HMAC", "rfc-4231-sha256.txt") if "MD" in vector]
    assert len(tested) == 6  # the truncated one is left out
    for vector in tested:
        assert compiled.hmac_sha256(bytes.fromhex(vector["Key"]), bytes.fromhex(vector["Msg"])).hex() == vector["MD"]


@pytest.mark.parametrize(
    ("password", "salt", "iterations", "expected"),
    [
        (b"passwd", b"salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
        (b"Password", b"NaCl", 80000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"),
        (b"password", b"salt", 1, "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b"),
        (b"password", b"salt", 2, "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43"),
        (b"password", b"salt", 4096, "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"),
        (
            b"passwordPASSWORDpassword",
            b"saltSALTsaltSALTsaltSALTsaltSALTsalt",
            4096,
            "348c89dbcbd32b2f32d814b8116e84cf2b17347ebc1800181c4e2a1fb8dd53e1",
        ),
        (b"pass\0word", b"sa\0lt", 4096, "89b69d0516f829893c696226650a86878c029ac13ee276509d5ae58b6466a724"),
    ],
)
def test_pbkdf2_of_published_vectors(password: bytes, salt: bytes, iterations: int, expected: str) -> None:
    """RFC 7914 §11, and the vectors with SHA-256 after RFC 6070."""
    assert compiled.pbkdf2_hmac_sha256(password, salt, iterations).hex() == expected
    assert [key.hex() for key in compiled.pbkdf2_hmac_sha256_many([(password, salt, iterations)] * 4)] == [expected] * 4


def test_nist_vectors_have_every_length() -> None:
    lengths = [int(v["Len"]) for v in vectors("hashes", "SHA2", "SHA256ShortMsg.rsp") if "Len" in v]
    assert all(b - a == 8 for a, b in pairwise(lengths))
