"""PEM files: all blocks that OpenSSL or cryptography reads are read, or the file is refused."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from babar_tls.tls.pem_files import parse_file
from babar_tls.x509 import pem
from babar_tls.x509.der import elements
from babar_tls.x509.pem import PemError, blocks

from .mutations import edited
from .profile import failure, fuzz

if TYPE_CHECKING:
    from pathlib import Path

x509 = pytest.importorskip("cryptography.x509", reason="cryptography is an oracle: pip install 'babar-tls[demo]'")

from babar_tls.testing import CertificateAuthority  # noqa: E402 - it needs cryptography

CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
BOM = b"\xef\xbb\xbf"
AUTHORITIES = [CertificateAuthority("p256", common_name=name) for name in ("one", "two", "three")]
KEY = AUTHORITIES[0].issue("h").private_key_pem
ITEMS = [
    *(authority.root_pem for authority in AUTHORITIES),
    *(authority.revocation_list() for authority in AUTHORITIES),
    AUTHORITIES[0].root_pem.replace(b" CERT", b" X509 CERT"),
    AUTHORITIES[1].root_pem.replace(b" CERT", b" TRUSTED CERT"),
    AUTHORITIES[2].root_pem.replace(b"\n", b"\r\n"),
    KEY,
    b"# comment\n",
    b"subject=CN = one\n",
    b"\n",
]
PIECES = st.sampled_from(
    [
        *(BOM, b"\n", b"\r", b"\r\n", b" ", b"\t", b"-", b"-----", b"\0", b"#", b"=", b":", b"\xa0", b"x", b"A" * 254),
        *(b"-----BEGIN ", b"-----END ", b"CERTIFICATE", b"-----\n", b"X509 CRL", b"certificate", b"Comment: x\n\n"),
        *(b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n", b"-----BEGIN X509 CRL-----\n"),
        *(BOM + item for item in ITEMS[:5]),
    ]
)
FILES = st.lists(st.sampled_from(ITEMS) | st.sampled_from([BOM, BOM, b" "]), max_size=6).map(b"".join)
JOINED = st.lists(st.sampled_from(ITEMS).map(bytes.strip), max_size=5).map(lambda items: b"".join(items) + b"\n")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def read_by_openssl(data: bytes, file: Path) -> tuple[set[bytes], int]:
    """Return the certificates and the number of CRLs that OpenSSL reads; none if it refuses the file."""
    file.write_bytes(data)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(file)
    except ssl.SSLError:
        return set(), 0
    return set(context.get_ca_certs(binary_form=True)), context.cert_store_stats()["crl"]


def read_by_cryptography(data: bytes) -> set[bytes]:
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        return {one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(data)}
    except ValueError:
        return set()


def check_file(data: bytes, file: Path) -> None:
    try:
        certificates = {next(elements(one.der)).encoded for one in parse_file("", data, *CERTIFICATES)}
        lists = {one.der for one in parse_file("", data, "X509 CRL")}
    except PemError:
        return
    theirs, their_lists = read_by_openssl(data, file)
    assert theirs <= certificates
    assert their_lists <= len(lists)
    if b"\0" not in data:
        assert read_by_cryptography(data) <= certificates


@fuzz(2, data=st.data(), content=FILES | JOINED)
def test_no_block_that_other_readers_accept_is_skipped(data: st.DataObject, content: bytes, file: Path) -> None:
    check_file(data.draw(edited(content, PIECES)), file)


@fuzz(1, items=st.lists(st.sampled_from(ITEMS[:6]), min_size=1, max_size=5), joint=st.sampled_from([b"", BOM, b"\n"]))
def test_complete_files_are_read_completely(items: list[bytes], joint: bytes, file: Path) -> None:
    data = joint + joint.join(items)
    assert len(parse_file("", data, *CERTIFICATES, "X509 CRL")) == len(items)
    check_file(data, file)


@fuzz(1, content=st.sampled_from(ITEMS[:6]), end=st.integers(1, 2000), before=st.sampled_from(ITEMS[:6]))
def test_truncated_file_is_refused(content: bytes, end: int, before: bytes) -> None:
    cut = content[: max(1, end % (len(content) - 1))]
    if len(cut) <= 5:
        return  # no byte of the block remains
    with pytest.raises(PemError):
        list(blocks(before + cut, "X509 CRL"))


def test_reader_that_skips_a_block_after_a_utf_8_bom_is_detected(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pem, "_BOM", b"\xff\xff\xff")
    monkeypatch.setattr(pem, "_check_text", lambda *_: None)
    monkeypatch.setattr(pem, "_check_between", lambda *_: None)
    found: Any = failure(test_complete_files_are_read_completely, file=file)
    assert isinstance(found, AssertionError | PemError)


@pytest.mark.skipif("BABAR_TLS_FUZZ_EXAMPLES" in os.environ, reason="does not depend on the number of examples")
def test_oracles_read_the_items(file: Path) -> None:
    assert read_by_openssl(BOM + b"".join(ITEMS[:6]), file) == (read_by_cryptography(b"".join(ITEMS[:3])), 3)
