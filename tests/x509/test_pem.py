"""PEM files are parsed completely, or refused with the line at fault. No block is ignored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.x509.pem import PemError, blocks, encode

LABELS = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CRL", "EC PRIVATE KEY"]
BOM = b"\xef\xbb\xbf"
A, B = encode("X509 CRL", b"\x30\x01a"), encode("X509 CRL", b"\x30\x01b")
BEGIN, END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"


def contents(data: bytes, *labels: str) -> list[bytes]:
    return [block.der() for block in blocks(data, *(labels or ["X509 CRL"]))]


@pytest.mark.parametrize(
    "data",
    [
        A + B,
        BOM + A + B,
        A + BOM + B,
        BOM + BOM + A + b"\n" + BOM + B,
        BOM + b"# a comment\n" + A + b"# another\n" + B,
        A.replace(b"\n", b"\r\n") + B.replace(b"\n", b"\r\n"),
        A.replace(b"\n", b" \t\n") + B.replace(b"\n", b"\r\r\n"),
        A + B.rstrip(),
        A + B + b"\x1a",
        b"subject=CN = a\n" + A + b"issuer=CN = b\n\n    Version: 3 (0x2)\n--- end of list ---\n----------\n" + B,
        b"# " + A.replace(b"\n", b"\n# ") + b"\n" + A + B,
        b"   #" + BEGIN + b"\n" + A + B,
        A + encode("EC PARAMETERS", b"\x06\x01a") + encode("NEW CERTIFICATE REQUEST", b"\x30\x00") + B,
        A.replace(b"MAFh", b"MA\nFh") + B.replace(b"MAFi", b"\nMAFi\n\n"),
        A.replace(b"MAFh", b" MAFh") + B,
    ],
)
def test_every_block_is_found(data: bytes) -> None:
    assert contents(data) == [b"\x30\x01a", b"\x30\x01b"]


#: The data after a valid block in lines 1 to 3; the line at fault, and a part of the message.
FAULTS: dict[str, tuple[bytes, int, str]] = {
    "no end": (BEGIN + b"\nMAFi\n", 4, "cut off"),
    "cut off in the first line": (BEGIN[:-3], 4, "fill its line"),
    "cut off in the last line": (BEGIN + b"\nMAFi\n" + END[:-1], 6, "cut off"),
    "cut off, then a whole one": (BEGIN + b"\nMAFi\n" + B, 6, "line 4 is cut off"),
    "no beginning": (b"MAFi\n" + END + b"\n", 5, "has no beginning"),
    "another label at the end": (BEGIN + b"\nMAFi\n-----END CERTIFICATE-----\n", 6, "cut off"),
    "joined without a line feed": (B.rstrip() + B, 6, "joined without a line feed"),
    "text behind the end": (B.rstrip() + b" # a list\n", 6, "followed by other text"),
    "text before the beginning": (b"list: " + B, 4, "fill its line"),
    "text behind the beginning": (BEGIN + b" list\nMAFi\n" + END, 4, "fill its line"),
    "indented": (b"  " + B.replace(b"\n", b"\n  "), 4, "fill its line"),
    "quoted": (b"> " + B.replace(b"\n", b"\n> "), 4, "fill its line"),
    "the end is indented": (BEGIN + b"\nMAFi\n  " + END, 6, "cut off"),
    "CR as the only line end": (B.replace(b"\n", b"\r"), 4, "CR only"),
    "lower case": (B.lower(), 4, "fill its line"),
    "label in lower case": (B.replace(b"X509 CRL", b"x509 crl"), 4, "cannot be read"),
    "two blanks in the label": (B.replace(b"X509 CRL", b"X509  CRL"), 4, "cannot be read"),
    "a hyphen in the label": (B.replace(b"X509 CRL", b"X509-CRL"), 4, "cannot be read"),
    "a blank behind the label": (B.replace(b"CRL-", b"CRL -"), 4, "cannot be read"),
    "a label that others use": (encode("CRL", b"\x30\x01b"), 4, "cannot be read"),
    "another label that others use": (encode("REVOCATION LIST", b"\x30\x01b"), 4, "cannot be read"),
    "PKCS #7": (encode("PKCS7", b"\x30\x01b"), 4, "cannot be read"),
    "four dashes": (B.replace(b"-----", b"----"), 4, "not exactly"),
    "four dashes before": (B.replace(b"-----BEGIN", b"----BEGIN"), 4, "exactly"),
    "four dashes behind": (B.replace(b"CRL-----\nMAF", b"CRL----\nMAF"), 4, "exactly"),
    "six dashes": (B.replace(b"-----", b"------"), 4, "exactly"),
    "no dashes": (B.replace(b"-----", b""), 4, "not exactly"),
    "other dashes": (B.replace(b"-----", "\u2014\u2013".encode()), 4, "not exactly"),
    "a blank behind the dashes": (B.replace(b"-----BEGIN", b"----- BEGIN"), 4, "exactly"),
    "a misspelt beginning": (B.replace(b"BEGIN", b"BEGN"), 4, "fill its line"),
    "UTF-16": (B.decode().encode("utf-16-le"), 4, "NUL"),
    "DER": (b"\x30\x03\x02\x01\0", 4, "NUL"),
    "a NUL behind the beginning": (B.replace(b"-----\n", b"-----\0\n"), 4, "fill its line"),
    "where OpenSSL cuts lines": (b"#" * 254 + B, 4, "fill its line"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_line_at_fault_is_named(fault: str) -> None:
    data, line, why = FAULTS[fault]
    with pytest.raises(PemError, match=why) as caught:
        contents(A + data)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"damaged PEM, line {line}: ")
    with pytest.raises(PemError):
        contents(A + data, "EC PRIVATE KEY")  # whichever kind is wanted


@pytest.mark.parametrize(
    "body",
    [b"MAF", b"MAFiMAFi!", b"MAFi-", b"MAFiAA==", b"MAFi\nMAFi", b"MAJi", b"", b"Comment: a\n\nMAFi", BOM],
)
def test_damaged_content_is_named(body: bytes) -> None:
    with pytest.raises(PemError, match=r"^damaged PEM, line 4: the X509 CRL is"):
        contents(A + BEGIN + b"\n" + body + b"\n" + END)


def test_trust_settings_may_follow_a_certificate() -> None:
    data = encode("TRUSTED CERTIFICATE", b"\x30\x01a\x30\x01b")
    assert contents(data, "TRUSTED CERTIFICATE") == [b"\x30\x01a\x30\x01b"]
    with pytest.raises(PemError):
        contents(data.replace(b"TRUSTED ", b""), "CERTIFICATE")
    with pytest.raises(PemError):
        contents(encode("TRUSTED CERTIFICATE", b"\x30\x01a" * 3), "TRUSTED CERTIFICATE")


PIECES = [
    *(f"-----{word} {label}-----".encode() for word in ("BEGIN", "END") for label in [*LABELS, "x", " ", "CRL"]),
    *(
        b"\n",
        b"\n\n",
        b"\r\n",
        b"\r",
        b" ",
        b"\t",
        b"-----",
        b"-----BEGIN ",
        b"-----END ",
        b"MAFh",
        b"a",
        b"\0",
        BOM,
        b"#",
    ),
    *(A, B),
]
SOUP = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join)
LINES = st.lists(st.sampled_from(PIECES), max_size=30).map(b"\n".join)


@given(SOUP | LINES | st.binary())
def test_garbage_is_parsed_completely_or_refused(data: bytes) -> None:
    """Every line that is the beginning of a block for OpenSSL begins a block."""
    begun = [line for line in data.split(b"\n") if line.startswith(b"-----BEGIN ") and line.rstrip().endswith(b"-----")]
    try:
        found = list(blocks(data, *LABELS))
    except PemError as error:
        assert 1 <= error.line <= data.count(b"\n") + 1  # noqa: PT017 - an error is not required
        return
    known = [line for line in begun if line.rstrip()[11:-5].decode("latin-1") in LABELS]
    assert len(found) >= len(known)


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.binary(max_size=200)), max_size=5), SOUP)
def test_encoded_block_is_found(content: list[tuple[str, bytes]], between: bytes) -> None:
    comment = b"".join(b"# " + line + b"\n" for line in between.replace(b"\0", b"").split(b"\n") if len(line) < 250)
    data = b"".join(comment + encode(label, der) for label, der in content) + comment
    for form in (data, data.replace(b"\n", b"\r\n"), BOM + data):
        found = [(block.label, b"".join(block.body.split())) for block in blocks(form, *LABELS)]
        assert found == [(label, b"".join(encode("", der).split()[2:-2])) for label, der in content]


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
        b"-----BEGIN " + b"X509 CRL" * 500_000 + b"-----",
        b"BEGIN " * 700_000 + b"\0CRL",
        b"BEGIN" + b" " * 4_000_000 + b"X509" + b" " * 4_000_000,
        b"." * 4_000_000 + b"BEGIN " + b"A" * 4_000_000,
        b"----- " * 700_000,
        b"-----\n" * 700_000,
        b"-----BEGIN Y-----\n-----END Y-----\n" * 100_000 + b"-----END",
    ],
)
def test_parsing_takes_linear_time(data: bytes) -> None:
    """Quadratic time would be hours for these megabytes."""
    try:
        assert list(blocks(data, "X")) == []
    except PemError as error:
        assert error.line >= 1  # noqa: PT017 - an error is not required


def test_many_blocks_are_found() -> None:
    data = b"".join(b"# %d\n-----BEGIN X-----\nAAAA\n-----END X-----\n" % number for number in range(50_000))
    found = list(blocks(data, "X"))
    assert len(found) == 50_000
    assert found[-1].line == 4 * 50_000 - 2
