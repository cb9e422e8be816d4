"""The server's refusals become errors by SQLSTATE, with a remedy where one is known."""

from __future__ import annotations

import pytest

from babar_tls.errors import AuthRefused, ChannelBindingRefused, InvalidPassword, ServerError
from babar_tls.protocol.refusals import refusal


@pytest.mark.parametrize(
    ("code", "about_binding", "kind", "remedy"),
    [
        ("28P01", False, InvalidPassword, "Check the user and the password"),
        ("28P01", True, InvalidPassword, "Check the user and the password"),
        ("28000", False, AuthRefused, "pg_hba.conf"),
        ("28000", True, ChannelBindingRefused, "an attacker"),
        ("28999", False, AuthRefused, None),
        ("3D000", False, ServerError, "Check the database's name"),
        ("42501", False, ServerError, "CONNECT"),
        ("53300", False, ServerError, "max_connections"),
        ("57P03", False, ServerError, "try again soon"),
        ("XX000", True, ServerError, None),
        ("", False, ServerError, None),
    ],
)
def test_refusal(code: str, about_binding: bool, kind: type[ServerError], remedy: str | None) -> None:
    """Class and remedy follow from the SQLSTATE, and for 28000 from where the exchange stands."""
    error = refusal({"V": "FATAL", "C": code, "M": "no"} if code else {"M": "no"}, about_binding=about_binding)
    assert type(error) is kind
    assert error.code == (code or "XX000")
    assert (error.remedy is None) == (remedy is None)
    assert (remedy or "") in (error.remedy or "")
    assert "no" in str(error)
