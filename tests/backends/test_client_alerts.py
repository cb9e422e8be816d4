"""Every alert about a client certificate is a `ClientCertificateError` with a specific remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from babar_tls import ClientCertificateError
from babar_tls.backends import get_backend
from babar_tls.testing.backend_checks._tls13 import ALERT, Tls13Server
from babar_tls.tls.connection import TlsConnection

if TYPE_CHECKING:
    from babar_tls.backends import TlsParameters
    from babar_tls.testing import CertificateAuthority

NAME = "db.example.com"

#: The alert's number (RFC 8446 §6.2), its words, and a part of the remedy.
ALERTS = [
    (42, "bad certificate", "could not verify"),
    (43, "unsupported certificate", "clientAuth"),
    (44, "certificate revoked", "has been revoked"),
    (45, "certificate expired", "has expired"),
    (46, "certificate unknown", "sent no reason"),
    (48, "unknown ca", "ssl_ca_file"),
    (116, "certificate required", "sslcert"),
]


@pytest.mark.parametrize(("number", "words", "remedy"), ALERTS)
def test_alert_about_the_client_certificate_has_a_specific_remedy(  # noqa: PLR0917 - fixtures
    backend: str, number: int, words: str, remedy: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    stream = TlsConnection(get_backend(backend), parameters, NAME)
    server = Tls13Server(authority.issue(NAME)).connect(stream)
    stream.receive_data(server.seal(ALERT, bytes([2, number])))
    with pytest.raises(ClientCertificateError) as caught:
        stream.read_into(memoryview(bytearray(10)))
    assert caught.value.message == f"SSL error: the server did not accept the client certificate ({words})"
    assert remedy in (caught.value.remedy or "")


def test_remedies_of_alerts_are_different() -> None:
    assert len({remedy for _, _, remedy in ALERTS}) == len(ALERTS)
