"""Diagnoses: the readers of certificates and hellos accept any bytes of a server, and the table any text."""

from __future__ import annotations

from hypothesis import strategies as st

from babar_tls.doctor.causes import Cause
from babar_tls.doctor.chain import readable_name, summarize
from babar_tls.doctor.classify import finding
from babar_tls.doctor.old_versions import client_hello, selected_version
from babar_tls.errors import ProtocolError, ServerError, TlsError
from babar_tls.tls.hello import client_offer
from babar_tls.x509.algorithm_names import key_name, signature_name
from babar_tls.x509.authority import issuer_of_issuer, names_issuer_location
from babar_tls.x509.certificate import read_fields
from babar_tls.x509.der import DerError

from .mutations import mutated
from .profile import certificate_seeds, corpus, fuzz

SEEDS = list(certificate_seeds().values())
HELLOS = [data for name, data in corpus("hello").items() if name.startswith("server")]
_NOW = 1_800_000_000.0  # seconds since 1970


@fuzz(der=mutated(SEEDS) | st.binary(max_size=200))
def test_certificates_are_described_or_left_out(der: bytes) -> None:
    for text in (key_name(der), signature_name(der)):
        assert text.isprintable()
        assert len(text) < 300
    assert names_issuer_location(der) in (True, False)
    assert isinstance(issuer_of_issuer(der), bytes | None)
    summary = summarize(der, 0, _NOW)
    if summary is not None:
        texts = (summary.subject, summary.issuer, *summary.names)
        assert all(text.isprintable() for text in texts)
        assert len(summary.names) <= 200


@fuzz(der=mutated(SEEDS))
def test_names_are_readable(der: bytes) -> None:
    try:
        name = read_fields(der).subject.encoded
    except DerError:
        return
    assert readable_name(name).isprintable()


@fuzz(data=mutated(HELLOS) | st.binary(max_size=100))
def test_version_of_a_server_hello_is_found_or_not(data: bytes) -> None:
    version = selected_version(data)
    assert version is None or 0 <= version < 1 << 16


def test_old_client_hello_is_well_formed() -> None:
    offer = client_offer(client_hello())
    assert offer.versions == ("TLSv1.1",)
    assert offer.groups[0] == "x25519"
    assert len(offer.ciphers) > 1


@fuzz(message=st.text(), code=st.text(max_size=5), detail=st.text())
def test_texts_of_a_server_are_escaped_and_bounded(message: str, code: str, detail: str) -> None:
    for error in (ServerError({"M": message, "C": code, "D": detail}), TlsError(message), ProtocolError(message)):
        found = finding(error)
        assert isinstance(found.cause, Cause)
        assert all(char.isprintable() or char == "\u3000" or char.isspace() for char in found.text)
        assert "\n" not in found.text
        assert "\x1b" not in found.text
