"""PEM's blocks, found in one pass whatever surrounds them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from babar_tls.backends.pem import Block, blocks, encode

#: What a block is. Where many begin and none ends, matching this takes the square of the time.
PATTERN = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n(.*?)^-----END \1-----", re.MULTILINE | re.DOTALL)

LABELS = ["A", "B", "A B", " ", "X509 CRL"]
PIECES = [
    *(f"-----{word} {label}-----".encode() for word in ("BEGIN", "END") for label in LABELS),
    *(b"\n", b"\n\n", b"\r\n", b"\r", b" ", b"\t", b"-----", b"-----BEGIN ", b"-----END ", b"A", b"a", b"AAAA", b"\0"),
]
SOUP = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join)
LINES = st.lists(st.sampled_from(PIECES), max_size=30).map(b"\n".join)


def by_pattern(data: bytes, *labels: str) -> list[Block]:
    found = [(match[1].decode(), match) for match in PATTERN.finditer(data)]
    return [Block(label, match[0] + b"\n", match[2]) for label, match in found if label in labels]


@given(SOUP | LINES | st.binary())
@example(b"-----BEGIN A-----\n-----BEGIN B-----\n-----END B-----\n-----END A-----\n-----BEGIN A-----\n")
@example(b"-----BEGIN A-----\n-----BEGIN B-----\nAAAA\n-----END B----------BEGIN B-----\n-----END B-----")
@example(b"-----BEGIN A-----\nx-----END A-----\n-----END A-----")
@example(b"-----BEGIN A-----\n-----END A-----")
def test_blocks_in_garbage(data: bytes) -> None:
    """The blocks are those that the pattern finds."""
    for chosen in (LABELS, ["A"], ["A B", "X509 CRL"], []):
        assert list(blocks(data, *chosen)) == by_pattern(data, *chosen)


@given(st.lists(st.tuples(st.sampled_from(["A", "A B", "X509 CRL"]), st.binary(max_size=200)), max_size=5), SOUP)
def test_blocks_that_were_encoded(content: list[tuple[str, bytes]], between: bytes) -> None:
    """What was encoded is found again, among comments too."""
    comment = b"# " + between.replace(b"-----", b"--") + b"\n"
    data = b"".join(comment + encode(label, der) for label, der in content) + comment
    assert [(block.label, block.der()) for block in blocks(data, *LABELS)] == content
    assert [(block.label, block.der()) for block in blocks(data.replace(b"\n", b"\r\n"), *LABELS)] == content


@pytest.mark.parametrize(
    "data",
    [
        b"-----BEGIN X-----\n" * 200_000,
        b"".join(b"-----BEGIN %X-----\n" % number for number in range(200_000)),
        b"-----BEGIN X-----\n" * 100_000 + b"-----END Y-----\n" * 100_000,
        b"-----END X-----\n" * 100_000 + b"-----BEGIN X-----\n" * 100_000,
        b"-----BEGIN " * 400_000,
        b"-----BEGIN X-----" + b" " * 4_000_000,
        b"-----BEGIN " + b"A" * 4_000_000,
    ],
    ids=["begun", "begun otherwise", "ended otherwise", "ended before", "half begun", "spaces", "a long label"],
)
def test_blocks_without_end(data: bytes) -> None:
    """Megabytes of lines that begin a block and end none take no time: the square of it would be hours."""
    assert list(blocks(data, "X")) == []


def test_many_blocks() -> None:
    """Nor do as many blocks, unterminated ones before each."""
    data = b"-----BEGIN Y-----\n-----BEGIN X-----\nAAAA\n-----END X-----\n" * 50_000
    assert len(list(blocks(data, "X"))) == 50_000
