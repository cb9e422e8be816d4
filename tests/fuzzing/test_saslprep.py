"""SASLprep: any password is prepared like by a transcription of PostgreSQL's pg_saslprep, without an exception."""

from __future__ import annotations

import stringprep
import unicodedata

import pytest
from hypothesis import strategies as st

from babar_tls.protocol import saslprep as module
from babar_tls.protocol.saslprep import saslprep

from .mutations import mutated
from .profile import corpus, failure, fuzz

CORPUS = corpus("saslprep")


def pg_saslprep(raw: bytes) -> bytes:
    """Prepare a password with the steps of PostgreSQL's src/common/saslprep.c; return `raw` where it fails."""
    if max(raw, default=0) < 0x80:
        return raw
    try:
        text = str(raw, "utf-8", "strict")
    except UnicodeError:
        return raw
    # 1) Map: first non-ASCII spaces to U+0020, then the characters that are mapped to nothing.
    mapped = []
    for char in text:
        if stringprep.in_table_c12(char):
            mapped.append(" ")
        elif not stringprep.in_table_b1(char):
            mapped.append(char)
    if not mapped:
        return raw
    # 3) Prohibit. 2) Normalize is last, because the C code tests the characters before normalization.
    for char in mapped:
        if (
            stringprep.in_table_c12(char)
            or stringprep.in_table_c21(char)
            or stringprep.in_table_c22(char)
            or stringprep.in_table_c3(char)
            or stringprep.in_table_c4(char)
            or stringprep.in_table_c5(char)
            or stringprep.in_table_c6(char)
            or stringprep.in_table_c7(char)
            or stringprep.in_table_c8(char)
            or stringprep.in_table_c9(char)
            or stringprep.in_table_a1(char)
        ):
            return raw
    # 4) Check bidi.
    right_to_left = [stringprep.in_table_d1(char) for char in mapped]
    if any(right_to_left):
        if any(stringprep.in_table_d2(char) for char in mapped):
            return raw
        if not right_to_left[0] or not right_to_left[-1]:
            return raw
    return unicodedata.normalize("NFKC", "".join(mapped)).encode()


def boundaries() -> list[str]:
    """Return characters on both sides of each boundary of the tables."""
    ranges = (
        "0340 0341 034f 0221 0628 0600 06dd 070f 00a0 00ad 1680 1806 180b 180e 2000 200b 200c 200e 2028 202a 202f 205f "
        "2060 2063 206a 2126 2168 212b 2ff0 2ffb 3000 33ff ac00 d7a3 e000 f8ff fb1d fb50 fdd0 fdef fdf2 fdfa fdfc fe00 "
        "fe70 feff fff9 fffd fffe 1d173 1d400 1f418 2f800 2fa1d e0001 e007f f0000 10fffd 10ffff"
    )
    points = {int(text, 16) + step for text in ranges.split() for step in (-1, 0, 1)}
    return [chr(point) for point in sorted(points) if point <= 0x10FFFF and not 0xD800 <= point < 0xE000]


TEXTS = st.text(
    st.one_of(
        st.sampled_from("a1 \x07é\u00a0\u00ad\u200b\u200d\u0627\u0628\ufb01"),
        st.sampled_from(boundaries()),
        st.characters(codec="utf-8"),
    ),
    max_size=8,
)
PASSWORDS = st.one_of(
    TEXTS.map(str.encode),
    mutated(list(CORPUS.values())),
    st.binary(max_size=12),
)


@fuzz(4, password=PASSWORDS)
def test_preparation_agrees_with_pg_saslprep(password: bytes) -> None:
    prepared = saslprep(password)
    assert prepared == pg_saslprep(password)
    assert saslprep(prepared) == prepared
    if password.isascii():
        assert prepared == password


@fuzz(1, text=TEXTS)
def test_text_and_its_utf_8_bytes_are_prepared_alike(text: str) -> None:
    assert saslprep(text) == saslprep(text.encode())


@pytest.mark.parametrize("name", CORPUS)
def test_stored_passwords_agree_with_pg_saslprep(name: str) -> None:
    test_preparation_agrees_with_pg_saslprep.check(CORPUS[name])


def test_wrong_order_of_the_mappings_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> str:
        kept = (char for char in text if not stringprep.in_table_b1(char))
        return "".join(" " if stringprep.in_table_c12(char) else char for char in kept)

    monkeypatch.setattr(module, "_map", broken)
    assert isinstance(failure(test_preparation_agrees_with_pg_saslprep), AssertionError)


def test_missing_direction_check_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_violates_bidi", lambda _text: False)
    assert isinstance(failure(test_preparation_agrees_with_pg_saslprep), AssertionError)
