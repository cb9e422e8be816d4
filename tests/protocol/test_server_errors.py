"""Errors of the server are mapped to classes by SQLSTATE, with a remedy if one is known."""

from __future__ import annotations

import pytest

from babar_tls.errors import AuthRefused, ChannelBindingRefused, InvalidPassword, ServerError
from babar_tls.protocol.server_errors import refusal


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
        ("57P03", False, ServerError, "try again later"),
        ("XX000", True, ServerError, None),
        ("", False, ServerError, None),
    ],
)
def test_class_and_remedy_depend_on_the_sqlstate(
    code: str, about_binding: bool, kind: type[ServerError], remedy: str | None
) -> None:
    """For 28000 they also depend on the state of the exchange."""
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
def test_remedy_depends_on_the_text_of_the_server(text: str, remedy: str) -> None:
    error = refusal({"V": "FATAL", "C": "28000", "M": text})
    assert type(error) is AuthRefused
    assert text in str(error)
    assert remedy in (error.remedy or "")


def test_unknown_certificate_digest_of_the_server_has_a_remedy() -> None:
    for text in ("could not determine server certificate signature algorithm", "could not find digest for NID UNDEF"):
        error = refusal({"V": "FATAL", "C": "XX000", "M": text})
        assert "channel_binding=disable" in (error.remedy or "")


def test_remedy_after_scram_is_not_about_the_password() -> None:
    fields = {"V": "FATAL", "C": "28P01", "M": 'password authentication failed for user "app"'}
    error = refusal(fields, password_proven=True)
    assert type(error) is InvalidPassword
    assert "client certificate" in (error.remedy or "")


def test_long_text_is_matched_in_linear_time() -> None:
    """The patterns are applied to the beginning of the text only. They would take quadratic time otherwise."""
    text = "no pg_hba.conf entry role " * 40_000
    assert refusal({"C": "28000", "M": text}).remedy
    assert type(refusal({"C": "XX000", "M": "user " * 200_000})) is ServerError


PASSWORD = [
    ("08P01", "password authentication failed"),  # PgBouncer
    ("08P01", 'password authentication failed for user "ann"'),
    ("08P01", "SASL authentication failed"),  # PgBouncer
    ("XX000", "Wrong password"),  # Supavisor
    ("58000", "Invalid password"),
    ("26000", "md5 authentication failed"),
    ("08P01", "incorrect password"),
]
LOGIN = [
    ("XX000", "Tenant or user not found"),  # Supavisor
    ("P0002", "Tenant or user not found"),
    ("08P01", "no such user: ann"),  # PgBouncer
    ("08P01", "login rejected"),  # PgBouncer, its pg_hba file
    ("08P01", "bouncer config error"),
    ("08P01", "auth failed"),
    ("08P01", "failed to authenticate"),
    ("XX000", "Invalid credentials"),
    ("08P01", 'role "ann" does not exist'),
    ("08P01", 'server login failed: FATAL password authentication failed for user "ann"'),
]
OTHERS = [
    ("08P01", 'database "d" does not exist'),  # PgBouncer
    ("08P01", "no such database: d"),
    ("08P01", "no more connections allowed (max_client_conn)"),
    ("08P01", "client_login_timeout (server down)"),
    ("08P01", "pgbouncer cannot connect to server"),
    ("08P01", "query_wait_timeout"),
    ("08P01", "malformed SCRAM message"),
    ("XX000", "it says"),
    ("08P01", "the database system is starting up"),
    ("26000", 'prepared statement "user_stmt" does not exist'),
    ("58P01", 'could not open file "pg_authentication": No such file or directory'),
    ("08006", "could not connect to authentication server"),
    ("08P01", "unsupported startup parameter: user_role not found"),
    ("XX000", 'FATAL: database "credentials" not found'),
    ("53300", "password authentication failed"),  # a SQLSTATE that PostgreSQL uses for something else
    ("3D000", 'database "wrong password" does not exist'),
    ("57P03", "the database system is shutting down"),
]


@pytest.mark.parametrize(("code", "text"), PASSWORD)
def test_password_refused_by_a_pooler_is_an_invalid_password(code: str, text: str) -> None:
    error = refusal({"V": "FATAL", "C": code, "M": text})
    assert type(error) is InvalidPassword
    assert (error.code, error.message) == (code, text)
    assert error.remedy


@pytest.mark.parametrize(("code", "text"), LOGIN)
def test_login_refused_by_a_pooler_is_an_authentication_error(code: str, text: str) -> None:
    error = refusal({"V": "FATAL", "C": code, "M": text})
    assert type(error) is AuthRefused
    assert (error.code, error.message) == (code, text)
    assert error.remedy


@pytest.mark.parametrize(("code", "text"), OTHERS)
def test_other_pooler_error_is_a_server_error(code: str, text: str) -> None:
    assert type(refusal({"V": "FATAL", "C": code, "M": text})) is ServerError
