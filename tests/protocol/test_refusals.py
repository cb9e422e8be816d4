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


HBA = 'for host "192.0.2.1", user "app", database "app"'


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("connection requires a valid client certificate", "sslcert"),
        (f"no pg_hba.conf entry {HBA}, no encryption", "sslmode=require"),
        (f"no pg_hba.conf entry {HBA}, SSL off", "sslmode=require"),
        (f"no pg_hba.conf entry {HBA}, SSL encryption", "host or hostssl"),
        (f"no pg_hba.conf entry {HBA}, GSS encryption", "host or hostssl"),
        ('no pg_hba.conf entry for replication connection from host "::1", user "app", no encryption', "sslmode"),
        ('no pg_hba.conf entry for host "[local]", user "app", database "app", no encryption', "type local"),
        (f"pg_hba.conf rejects connection {HBA}, no encryption", "sslmode=require"),
        (f"pg_hba.conf rejects connection {HBA}, SSL encryption", "method reject"),
        ('authentication failed for user "app": host rejected', "method reject"),
        ('role "app" does not exist', "CREATE ROLE"),
        ('role "app" is not permitted to log in', "ALTER ROLE"),
        ('Peer authentication failed for user "app"', "pg_ident.conf"),
        ('Ident authentication failed for user "app"', "ident server"),
        ('certificate authentication failed for user "app"', "common name of the client certificate"),
        ('LDAP authentication failed for user "app"', "another service"),
        ('RADIUS authentication failed for user "app"', "another service"),
        ('PAM authentication failed for user "app"', "another service"),
        ('GSSAPI authentication failed for user "app"', "another service"),
        ('OAuth bearer authentication failed for user "app"', "another service"),
        ("Autorisierung fehlgeschlagen", "pg_hba.conf"),
    ],
)
def test_the_remedy_is_about_the_text_of_the_server(text: str, remedy: str) -> None:
    error = refusal({"V": "FATAL", "C": "28000", "M": text})
    assert type(error) is AuthRefused
    assert text in str(error)
    assert remedy in (error.remedy or "")


def test_a_server_that_cannot_bind_its_certificate_has_a_remedy() -> None:
    for text in ("could not determine server certificate signature algorithm", "could not find digest for NID UNDEF"):
        error = refusal({"V": "FATAL", "C": "XX000", "M": text})
        assert "channel_binding=disable" in (error.remedy or "")


def test_a_refusal_after_scram_is_not_about_the_password() -> None:
    fields = {"V": "FATAL", "C": "28P01", "M": 'password authentication failed for user "app"'}
    error = refusal(fields, password_proven=True)
    assert type(error) is InvalidPassword
    assert "client certificate" in (error.remedy or "")


def test_a_long_text_costs_no_time() -> None:
    """The patterns are tried on the beginning of the text: trying them on all of it would take quadratic time."""
    text = "no pg_hba.conf entry role " * 40_000
    assert refusal({"C": "28000", "M": text}).remedy
