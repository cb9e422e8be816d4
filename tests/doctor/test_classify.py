"""The table from errors to causes."""

from __future__ import annotations

import errno

import pytest

from babar_tls import errors
from babar_tls.doctor.causes import Cause
from babar_tls.doctor.classify import RULES, find_cause, finding
from babar_tls.errors import (
    AuthRefused,
    CertificateError,
    ClientCertificateError,
    ConfigError,
    InvalidPassword,
    PasswordMissing,
    ServerError,
    TimeoutError,
    TlsError,
    Unreachable,
)

#: Classes of errors that say nothing about a cause.
WITHOUT_CAUSE = {"Error", "IoError", "Closed", "AuthError", "Busy", "IntegrationError"}


def build(name: str) -> errors.Error:
    """Return an error of this class."""
    kind = getattr(errors, name)
    if issubclass(kind, ServerError):
        return kind({"M": "text", "C": "XX000"})  # type: ignore[no-any-return]  # the class is looked up
    if kind is CertificateError:
        return CertificateError("text", reason="expired")
    return kind("text")  # type: ignore[no-any-return]  # the class is looked up


@pytest.mark.parametrize("name", sorted(set(errors.__all__) - WITHOUT_CAUSE))
def test_every_class_of_errors_has_a_cause(name: str) -> None:
    assert find_cause(build(name)) is not Cause.OTHER


@pytest.mark.parametrize("code", ["28P01", "28000", "3D000", "53300", "57P03"])
def test_localised_servers_are_classified_by_sqlstate(code: str) -> None:
    causes = {
        "28P01": Cause.WRONG_PASSWORD,
        "28000": Cause.NO_HBA_ENTRY,
        "3D000": Cause.MISSING_DATABASE,
        "53300": Cause.TOO_MANY_CONNECTIONS,
        "57P03": Cause.SERVER_STARTING,
    }
    assert find_cause(ServerError({"C": code, "M": "Passwort-Authentifizierung fehlgeschlagen"})) is causes[code]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("connection requires a valid client certificate", Cause.CLIENT_CERTIFICATE_REQUIRED),
        ('certificate authentication failed for user "app"', Cause.CLIENT_CERTIFICATE_REJECTED),
        ('no pg_hba.conf entry for host "::1", user "app", database "x", SSL encryption', Cause.NO_HBA_ENTRY),
        ('pg_hba.conf rejects connection for host "::1", user "app", database "x", no encryption', Cause.NO_HBA_ENTRY),
        ('role "app" does not exist', Cause.MISSING_ROLE),
        ('role "app" is not permitted to log in', Cause.MISSING_ROLE),
        ('LDAP authentication failed for user "app"', Cause.WRONG_PASSWORD),
        ('Peer authentication failed for user "app"', Cause.SERVER_REFUSED),
        ('OAuth bearer authentication failed for user "app"', Cause.SERVER_REFUSED),
    ],
)
def test_texts_distinguish_the_causes_of_28000(text: str, cause: Cause) -> None:
    assert find_cause(AuthRefused({"C": "28000", "M": text})) is cause


def test_password_that_is_correct_is_not_blamed() -> None:
    error = InvalidPassword({"C": "28P01", "M": "password authentication failed"}, remedy="The password is correct. …")
    assert find_cause(error) is Cause.CLIENT_CERTIFICATE_REJECTED


@pytest.mark.parametrize(
    ("alert", "cause"),
    [
        ("certificate_required", Cause.CLIENT_CERTIFICATE_REQUIRED),
        ("certificate_revoked", Cause.CLIENT_CERTIFICATE_REVOKED),
        ("unknown_ca", Cause.CLIENT_CERTIFICATE_REJECTED),
    ],
)
def test_alerts_distinguish_faults_of_client_certificates(alert: str, cause: Cause) -> None:
    error = ClientCertificateError("text")
    error.alert = alert
    assert find_cause(error) is cause


def test_alert_handshake_failure_means_no_common_algorithm() -> None:
    error = TlsError("text")
    error.alert = "handshake_failure"
    found = finding(error)
    assert found.cause is Cause.TLS_ALGORITHMS
    assert found.remedy is not None
    assert "ssl_ciphers" in found.remedy


def test_number_of_the_system_distinguishes_faults_of_the_network() -> None:
    assert find_cause(Unreachable("x", errno=errno.ECONNREFUSED)) is Cause.CONNECTION_REFUSED
    assert find_cause(Unreachable("x", errno=errno.EHOSTUNREACH)) is Cause.UNREACHABLE
    assert find_cause(TimeoutError("timeout expired (opening the connection)")) is Cause.NO_RESPONSE


def test_missing_password_is_named() -> None:
    assert find_cause(PasswordMissing("fe_sendauth: no password supplied")) is Cause.PASSWORD_UNAVAILABLE


def test_files_are_distinguished() -> None:
    assert find_cause(ConfigError('root certificate file "x" does not exist')) is Cause.ROOT_FILE
    named = ConfigError('root certificate file "x" does not exist', remedy="The environment variable SSL_CERT_FILE …")
    assert find_cause(named) is Cause.ROOT_ENVIRONMENT
    assert find_cause(ConfigError('certificate revocation list file "x" does not exist')) is Cause.CRL_MISSING


def test_every_rule_can_be_reached() -> None:
    """No rule follows one that matches all of its errors."""
    for number, rule in enumerate(RULES):
        general = [each for each in RULES[:number] if not (each.detail or each.text or each.remedy)]
        assert not any(issubclass(rule.kind, each.kind) for each in general), rule


def test_causes_are_unique() -> None:
    assert len({cause.value for cause in Cause}) == len(Cause)
