"""SASLprep as in PostgreSQL, which differs from RFC 4013."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.protocol.saslprep import saslprep


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
    ],
)
def test_rfc_4013_examples_are_prepared(password: str, prepared: str) -> None:
    """Examples of RFC 4013 §3."""
    assert saslprep(password) == prepared.encode()


@pytest.mark.parametrize("password", ["\u0007", "\u0627\u0031", "\u0627\u0031\u00ad"])
def test_rfc_4013_error_examples_are_used_unchanged(password: str) -> None:
    """Examples of RFC 4013 §3 with an error."""
    assert saslprep(password) == password.encode()


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("a\u00a0b", "a b"),  # C.1.2
        ("a\u3000b", "a b"),
        ("a\u200bb", "a b"),  # in C.1.2 and in B.1: mapped to a space
        ("a\u200db\u00ad", "ab"),  # B.1
        ("\u00ad\u200d", "\u00ad\u200d"),  # empty result: unchanged
        ("\ufb01x", "fix"),  # NFKC, not NFC
        ("e\u0301", "\u00e9"),
        ("\u212b", "\u00c5"),
        ("é\x07", "é\x07"),  # C.2.1
        ("é\u0080\ufb01", "é\u0080\ufb01"),  # C.2.2
        ("\ue000\ufb01", "\ue000\ufb01"),  # C.3
        ("\ufdd0\ufb01", "\ufdd0\ufb01"),  # C.4
        ("\ufffd\ufb01", "\ufffd\ufb01"),  # C.6
        ("\u2ff0\ufb01", "\u2ff0\ufb01"),  # C.7
        ("\u0340\ufb01", "\u0340\ufb01"),  # C.8, although NFKC would turn it into U+0300
        ("\U000e0001\ufb01", "\U000e0001\ufb01"),  # C.9
        ("\u0221\ufb01", "\u0221\ufb01"),  # unassigned in Unicode 3.2
        ("\U0001f418\ufb01", "\U0001f418\ufb01"),  # an elephant, unassigned in Unicode 3.2
        ("\u0627\u0628", "\u0627\u0628"),  # right to left
        ("\u0627a\u0628\u00ad", "\u0627a\u0628\u00ad"),  # with a left-to-right character: unchanged
        ("\u0627\u0031\u0628\u00ad", "\u0627\u0031\u0628"),  # a digit in the middle is allowed
        ("1\u0627\u0628\u00ad", "1\u0627\u0628\u00ad"),  # but not at an end
    ],
)
def test_preparation_is_that_of_postgresql(password: str, prepared: str) -> None:
    """Cases for mapping, prohibition, direction and normalization."""
    assert saslprep(password) == prepared.encode()


@pytest.mark.parametrize("raw", [b"\xff", b"caf\xe9", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3"])
def test_bytes_that_are_not_utf8_are_used_unchanged(raw: bytes) -> None:
    """Overlong forms and surrogates are included."""
    assert saslprep(raw) == raw


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_ascii_is_used_unchanged(password: str) -> None:
    """Control characters are included."""
    assert saslprep(password) == password.encode()


@given(st.text())
def test_result_is_unchanged_or_normalized(password: str) -> None:
    prepared = saslprep(password)
    if prepared != password.encode():
        text = prepared.decode()
        assert unicodedata.normalize("NFKC", text) == text
