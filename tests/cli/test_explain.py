"""`babar-tls explain`: sources, consequences, and changes that are accepted."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import babar_tls.explain.consequences
from babar_tls.backends import Capabilities
from babar_tls.config import Config
from babar_tls.config.enums import TlsVersion
from babar_tls.errors import BackendUnavailable, ConfigError
from babar_tls.explain.weaknesses import find_weaknesses

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Outcome

SECRET = "hush-hush"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a home without files, and an environment without PG* variables."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PGUSER", "PGPASSWORD", "PGSSLMODE", "PGHOST", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def explained(cli: Callable[..., Outcome], text: str, *arguments: str) -> dict[str, Any]:
    outcome = cli("explain", text, "--json", *arguments)
    assert outcome.status in {0, 2}, outcome
    assert SECRET not in outcome.out + outcome.err
    assert outcome.document["problems"] or outcome.status == 0
    return outcome.document


def sources(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item["name"]: (item["value"], item["source"]) for item in document["parameters"]}


def test_each_parameter_has_its_source(
    cli: Callable[..., Outcome], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = home / "services"
    service.write_text(f"[billing]\ndbname=ledger\npassword={SECRET}\n")
    (home / ".postgresql").mkdir()
    root = home / ".postgresql" / "root.crt"
    root.write_text("-")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    monkeypatch.setenv("PGUSER", "app")
    monkeypatch.setenv("PGDATABASE", "nothing")
    found = sources(explained(cli, "service=billing host=db.example.com sslmode=verify-ca"))
    assert found["host"] == ("db.example.com", "connection string: host")
    assert found["database"] == ("ledger", f'service file "{service}", service "billing"')
    assert found["password"] == ("(hidden)", f'service file "{service}", service "billing"')
    assert found["user"] == ("app", "environment variable PGUSER")
    assert found["tls_root_cert_path"] == (str(root), f'default file "{root}"')
    assert found["connect_timeout"] == ("10", "default")


def test_output_hides_secrets_and_defaults(cli: Callable[..., Outcome]) -> None:
    outcome = cli("explain", f"host=db.example.com user=app password={SECRET} sslmode=require")
    assert outcome.status == 0
    assert SECRET not in outcome.out
    for text in (
        "(hidden)",
        "connection string: sslmode",
        "Nothing: any certificate is accepted",
        "sslmode=verify-full",
    ):
        assert text in outcome.out
    assert "keepalives_idle" not in outcome.out
    assert "keepalives_idle" in cli("explain", "host=db.example.com", "--all").out
    best = "host=db.example.com user=app sslmode=verify-full sslrootcert=system channel_binding=require"
    assert "No weakness found." in cli("explain", best).out


@pytest.mark.parametrize(
    ("text", "topic", "meaning"),
    [
        ("host=h sslmode=disable", "Encryption", "Never"),
        ("host=h sslmode=allow", "Encryption", "Only if the server refuses a plain connection"),
        (
            "host=h sslmode=prefer",
            "Encryption",
            "in plain text if it does not, if TLS fails or if the server refuses the connection",
        ),
        ("host=h", "Encryption", "Always"),
        ("host=/run/postgresql", "Encryption", "does not leave this machine"),
        ("host=h sslnegotiation=direct sslmode=require", "Encryption", "from the first byte"),
        ("host=h ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.3", "Encryption", "only TLSv1.3"),
        ("host=h sslmode=verify-full sslrootcert=/ca.pem", "Trusted roots", "Only those in /ca.pem."),
        ("host=h", "Verification", "The certificate chain and the name h."),
        ("host=h sslmode=verify-full sslrootcert=system", "Verification", "the common name is used"),
        ("host=h sslmode=require sslrootcert=/ca.pem", "Verification", "but not the name"),
        ("host=h sslcert=/c.pem sslkey=/k.pem", "Client certificate", "/c.pem, if the server requests one"),
        ("host=h sslmode=require", "Cleartext password", "Never: the server is not verified"),
        ("host=h", "Cleartext password", "only inside TLS to a verified server"),
        ("host=h require_auth=!password", "Cleartext password", "Never: require_auth"),
        ("host=h channel_binding=require", "Cleartext password", "Never: channel binding requires SCRAM"),
        ("host=h sslmode=prefer require_auth=password", "Cleartext password", "with or without TLS"),
        ("host=/run/postgresql", "Cleartext password", "over the local socket"),
        ("host=h sslmode=prefer", "MD5 password", "in plain text if TLS is not used"),
        ("host=h", "MD5 password", "inside TLS to a verified server"),
        ("host=h require_auth=scram-sha-256", "MD5 password", "Never"),
        ("host=h channel_binding=require", "Channel binding", "Always, with tls-server-end-point"),
        ("host=h require_auth=md5", "Channel binding", "Never: it requires SCRAM, which require_auth does not allow"),
        ("host=h channel_binding_type=tls-exporter", "Channel binding", "PostgreSQL itself does not accept"),
        ("host=/tmp,h", "Encryption", "TCP: always: without TLS the connection fails. TLS versions: TLSv1.2 or newer"),
        ("host=/tmp,h", "Encryption", "Socket: not needed: traffic on a Unix-domain socket does not leave"),
        ("host=/tmp,h sslmode=require", "Cleartext password", "TCP: never: the server is not verified"),
        ("host=/tmp,h sslmode=require", "Cleartext password", "Socket: if the server requests it, over the local"),
        ("host=/tmp,h require_auth=md5", "Cleartext password", "Never: require_auth does not allow it."),
        ("host=/tmp,h", "MD5 password", "TCP: if the server requests md5, inside TLS to a verified server."),
        ("host=/tmp,h", "MD5 password", "Socket: if the server requests md5, over the local socket."),
        ("host=/tmp,h", "Channel binding", "TCP: with tls-server-end-point, if"),
        ("host=/tmp,h", "Channel binding", "Socket: never: a Unix-domain socket has no TLS"),
        ("host=/tmp,h sslmode=disable", "Channel binding", "TCP: never: TLS is disabled."),
        ("host=h sslmode=prefer", "After a failure", "plain text is tried"),
        ("host=h sslmode=allow", "After a failure", "TLS is tried"),
        ("host=a,b", "After a failure", "The next host is tried"),
        ("host=a,b port=1,2 load_balance_hosts=random", "Server", "a, port 1; then b, port 2"),
        ("host=a,b target_session_attrs=prefer-standby", "Server", "A standby is preferred"),
        ("host=a connect_timeout=0", "Server", "no timeout"),
    ],
)
def test_consequence_is_stated(cli: Callable[..., Outcome], text: str, topic: str, meaning: str) -> None:
    assert meaning in explained(cli, text)["meaning"][topic]


PROBED = {
    "host": ["db.example.com", "/run/s", "/run/s,db.example.com", "a.example.com,@b,c.example.com"],
    "sslmode": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
    "sslrootcert": ["system", "/ca.pem"],
    "tls_mode": ["", "disable", "prefer", "require"],
    "tls_verify": ["", "none", "ca", "full"],
    "tls_fallback": ["0", "1"],
    "tls_default_roots": ["0", "1"],
    "tls_root_cert_path": ["/own.pem"],
    "tls_os_roots": ["1"],
    "tls_pins": [f"sha256:{'00' * 32}"],
    "tls_backend": ["openssl"],
    "sslcert": ["/c.pem"],
    "sslkey": ["/k.pem", "pkcs11:key"],
    "sslkeylogfile": ["/keys"],
    "tls_key_log_path": ["/keys"],
    "sslnegotiation": ["direct"],
    "channel_binding": ["disable", "require"],
    "scram_channel_binding": ["", "tls-unique"],
    "channel_binding_type": ["tls-unique", "tls-exporter"],
    "ssl_min_protocol_version": ["TLSv1.3"],
    "require_auth": ["password", "!md5", "scram-sha-256", "none"],
    "options": ["-c a=b;host=c", "", "100%", "it's"],
}
INPUTS = st.fixed_dictionaries({}, optional={keyword: st.sampled_from(values) for keyword, values in PROBED.items()})


def written(values: dict[str, str], *, as_uri: bool) -> str:
    """Write a connection string for user `app` with a password."""
    values = {"user": "app", "password": SECRET, **values}
    if as_uri:
        return "postgresql://?" + "&".join(f"{keyword}={quote(value, safe='')}" for keyword, value in values.items())
    escaped = {keyword: re.sub(r"(['\\])", r"\\\1", value) for keyword, value in values.items()}
    return " ".join(f"{keyword}='{value}'" for keyword, value in escaped.items())


def applied(text: str, item: dict[str, Any]) -> str:
    """Return a string of `written` after the advice of `item` was followed."""
    for keyword in item["remove"]:
        text, count = re.subn(rf"[& ]{keyword}=('[^']*'|[^& ]*)", "", text)
        assert count == 1
    joiner = "&" if text.startswith("postgresql") else " "
    return f"{text}{joiner}{item['add']}" if item["add"] else text


@given(values=INPUTS, as_uri=st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_advice_is_accepted(cli: Callable[..., Outcome], values: dict[str, str], as_uri: bool) -> None:
    """Each change is accepted and removes its weakness, and so do all changes together."""
    text = written(values, as_uri=as_uri)
    try:
        config = Config.from_conninfo(text)
    except ConfigError:
        reject()
    document = explained(cli, text)
    remaining = [item for item in document["warnings"] if not (item["add"] or item["remove"])]
    for item in document["warnings"]:
        if item not in remaining:
            changed = Config.from_conninfo(applied(text, item))
            assert changed.targets == config.targets
            assert item["text"] not in [weakness.text for weakness in find_weaknesses(changed)]
    changed = Config.from_conninfo(applied(text, document["changes"]))
    assert changed.password == SECRET
    assert {weakness.text for weakness in find_weaknesses(changed)} <= {item["text"] for item in remaining}


VERIFY = "sslmode=verify-full sslrootcert=system"
SCRAM = "require_auth=scram-sha-256"
BIND = "channel_binding=require"


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("host=h sslmode=require", [VERIFY, SCRAM, BIND]),
        ("host=h sslmode=verify-ca sslrootcert=/ca.pem", ["sslmode=verify-full", SCRAM, BIND]),
        ("host=h sslmode=disable sslrootcert=/ca.pem", ["sslmode=verify-full", SCRAM, f"sslmode=verify-full {BIND}"]),
        ("host=h", [SCRAM, BIND]),
        ("host=h require_auth=scram-sha-256 channel_binding=require", []),
        ("host=h sslmode=prefer require_auth=md5", [VERIFY, SCRAM, BIND]),
        ("host=h require_auth=md5", [SCRAM, BIND]),
        ("host=h require_auth=password", [SCRAM, BIND]),
        ("host=h require_auth=none", [SCRAM, BIND]),
        ("host=/tmp,h user=u sslmode=require", [VERIFY, SCRAM, ""]),
        (
            "host=h channel_binding_type=tls-unique ssl_min_protocol_version=TLSv1.3",
            [SCRAM, f"{BIND} channel_binding_type=tls-server-end-point"],
        ),
        ("host=h scram_channel_binding=''", [SCRAM, f"{BIND} scram_channel_binding=tls-server-end-point"]),
        ("host=h tls_verify=ca channel_binding=require", ["tls_mode=require tls_verify=full"]),
        (
            "host=h tls_verify=none tls_default_roots=0",
            ["tls_mode=require tls_verify=full tls_default_roots=1", SCRAM, BIND],
        ),
        ("host=h tls_mode=prefer tls_fallback=1", ["tls_mode=require tls_verify=full tls_fallback=0", SCRAM, BIND]),
        ("host=h sslmode=disable sslcert=/c.pem sslkey=pkcs11:key", ["", SCRAM, ""]),
        ("host=h user=", ["", ""]),
        ("host=h password=x\\", ["", ""]),
        ("postgresql://h", [SCRAM, BIND]),
        ("postgresql://u:p?w@h/db", [SCRAM, BIND]),
        ("postgresql://h/?", [SCRAM, BIND]),
        ("postgresql://h/d&", [SCRAM, BIND]),
        ("postgresql://h/?sslmode=require", [VERIFY.replace(" ", "&"), SCRAM, BIND]),
        ("postgresql://h/?sslmode=require&channel_binding=require&", [VERIFY.replace(" ", "&")]),
        ("", [SCRAM, BIND]),
    ],
)
def test_parameters_to_add(cli: Callable[..., Outcome], text: str, changes: list[str]) -> None:
    """Each weakness has the parameters that remove it, in the syntax of the input; none if they would be refused."""
    document = explained(cli, text)
    assert [item["add"] for item in document["warnings"]] == changes
    is_uri, has_query = text.startswith("postgresql:"), "?" in text.rpartition("@")[2]
    separator = "" if text.endswith(("?", "&")) else " " if not is_uri else "&" if has_query else "?"
    for add in filter(None, [*changes, document["changes"]["add"]]):
        Config.from_conninfo(f"{text}{separator}{add}")


@pytest.mark.parametrize(
    ("methods", "sent"),
    [
        ("md5", "an MD5 digest of the password"),
        ("password", "the password itself"),
        ("password,md5", "the password itself"),
        ("!scram-sha-256", "the password itself"),
    ],
)
def test_verified_server_without_scram_is_weak(cli: Callable[..., Outcome], methods: str, sent: str) -> None:
    warnings = " ".join(item["text"] for item in explained(cli, f"host=h require_auth={methods}")["warnings"])
    assert f"require_auth does not allow SCRAM: the server receives {sent}" in warnings
    assert "not be bound" in warnings


def test_all_changes_together(cli: Callable[..., Outcome]) -> None:
    """The JSON document has all additions in one text, without duplicates, and all removals in one list."""
    document = explained(cli, "postgresql://h/?sslmode=disable&sslkeylogfile=/keys")
    add = "sslmode=verify-full&sslrootcert=system&require_auth=scram-sha-256&channel_binding=require"
    assert document["changes"] == {"add": add, "append": f"&{add}", "remove": ["sslkeylogfile"]}


def test_default_root_file_is_kept(cli: Callable[..., Outcome], home: Path) -> None:
    """If ~/.postgresql/root.crt exists, sslmode=verify-full uses it, and sslrootcert=system is not advised."""
    (home / ".postgresql").mkdir()
    (home / ".postgresql" / "root.crt").write_text("-")
    for mode in ("disable", "require"):
        assert explained(cli, f"host=h sslmode={mode}")["warnings"][0]["add"] == "sslmode=verify-full"


def test_untrusted_string_gets_advice(cli: Callable[..., Outcome]) -> None:
    """With --untrusted, which refuses file names, sslrootcert=system is accepted."""
    assert explained(cli, "host=h sslmode=require", "--untrusted")["warnings"][0]["add"] == VERIFY


def test_refused_changes_are_not_advised(cli: Callable[..., Outcome]) -> None:
    """A weakness without a possible change is still shown."""
    outcome = cli("explain", "host=h user=u sslmode=disable sslcert=/c.pem sslkey=pkcs11:key")
    assert "Nothing is encrypted" in outcome.out
    assert "verify-full" not in outcome.out
    assert "No weakness found" not in outcome.out


def test_binding_cannot_be_required_with_sockets(cli: Callable[..., Outcome]) -> None:
    """If one of the hosts is a Unix-domain socket, the warning says why channel binding is not advised."""
    (warning,) = explained(cli, "host=/tmp,h require_auth=scram-sha-256")["warnings"]
    assert warning["add"] == ""
    assert "one of the hosts is a Unix-domain socket" in warning["text"]


@pytest.mark.parametrize("keyword", ["sslkeylogfile", "tls_key_log_path"])
def test_key_log_is_removed(
    cli: Callable[..., Outcome], home: Path, monkeypatch: pytest.MonkeyPatch, keyword: str
) -> None:
    """A key log in the string is to be removed; one in a service file is overridden by an empty value."""
    best = "host=h channel_binding=require"
    (warning,) = explained(cli, f"{best} {keyword}=/keys")["warnings"]
    assert (warning["add"], warning["remove"]) == ("", [keyword])
    drawn = cli("explain", f"{best} {keyword}=/keys").out
    assert f"remove: {keyword}" in drawn
    assert "No weakness found" not in drawn
    service = home / "services"
    service.write_text(f"[s]\n{keyword}=/keys\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    for text in (f"{best} service=s", f"{best} service=s {keyword}=/other"):
        (warning,) = explained(cli, text)["warnings"]
        assert (warning["add"], warning["remove"]) == (f"{keyword}=''", [])
        assert Config.from_conninfo(f"{text} {warning['add']}").tls_key_log_path is None
    (warning,) = explained(cli, "postgresql://h/?channel_binding=require&service=s")["warnings"]
    assert warning["add"] == f"{keyword}="


def test_values_from_elsewhere_are_overridden(
    cli: Callable[..., Outcome], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change names the environment variable or the service file whose value it overrides."""
    monkeypatch.setenv("PGSSLMODE", "require")
    document = explained(cli, "host=h")
    assert [item["overrides"] for item in document["warnings"]] == [["environment variable PGSSLMODE"], [], []]
    assert "overrides a value from environment variable PGSSLMODE" in " ".join(cli("explain", "host=h").out.split())
    service = home / "services"
    service.write_text("[s]\ntls_verify=none\ntls_fallback=0\nrequire_auth=password\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    document = explained(cli, "host=h service=s")
    source = f'service file "{service}", service "s"'
    assert [item["overrides"] for item in document["warnings"][:2]] == [[source], [source]]
    assert find_weaknesses(Config.from_conninfo(f"host=h service=s {document['changes']['add']}")) == []


def test_untrusted_string_gets_no_files_and_no_environment(
    cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = cli("explain", "host=h sslkey=/etc/shadow", "--untrusted")
    assert outcome.status == 2
    assert "names a file" in outcome.err
    monkeypatch.setenv("PGPASSWORD", SECRET)
    assert sources(explained(cli, "host=h", "--untrusted"))["password"] == ("-", "default")
    assert sources(explained(cli, "host=h"))["password"] == ("(hidden)", "environment variable PGPASSWORD")


def test_invalid_string_is_status_2_and_shows_no_password(cli: Callable[..., Outcome]) -> None:
    outcome = cli("explain", f"host=h password={SECRET} sslmode=perhaps", "--json")
    assert outcome.status == 2
    assert 'invalid sslmode value: "perhaps"' in outcome.document["error"]["message"]
    assert SECRET not in outcome.out


def test_backend_option_is_used(cli: Callable[..., Outcome]) -> None:
    """An unknown backend is an error only if TLS may be used."""
    document = explained(cli, "host=h", "--backend", "openssl")
    assert sources(document)["tls_backend"] == ("openssl", "argument --backend")
    assert "with the backend openssl" in document["meaning"]["Encryption"]
    for outcome in (cli("explain", "host=h", "--backend", "bogus", "--json"), cli("explain", "tls_backend=bogus")):
        assert outcome.status == 2
        assert "unknown TLS backend 'bogus'" in outcome.out + outcome.err
    assert "Backend" not in explained(cli, "host=/tmp", "--backend", "bogus")["meaning"]


def test_missing_backend_is_reported(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise BackendUnavailable(f"TLS backend {name!r} cannot be used: it is away")

    monkeypatch.setattr(babar_tls.explain.consequences, "get_backend", missing)
    meaning = explained(cli, "host=h", "--backend", "openssl")["meaning"]
    assert meaning["Backend"] == "TLS backend 'openssl' cannot be used: it is away. Connections will fail."


def test_unsupported_requirements_are_reported(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("OpenSSL")
    openssl = "host=h tls_backend=openssl"
    meaning = explained(cli, f"{openssl} tls_os_roots=1")["meaning"]
    lack = "openssl cannot use the operating system's verifier (truststore)"
    assert meaning["Backend"] == f"{lack}: connections with TLS will fail."
    for text in (openssl, f"{openssl} tls_os_roots=1 tls_verify=none", f"{openssl} tls_os_roots=1 sslmode=disable"):
        assert "Backend" not in explained(cli, text)["meaning"]

    class Poor:
        capabilities = Capabilities(
            version="",
            tls_versions=tuple(TlsVersion),
            channel_bindings=(),
        )

    monkeypatch.setattr(babar_tls.explain.consequences, "get_backend", lambda _: Poor())
    meaning = explained(
        cli,
        "host=h sslmode=verify-full sslrootcert=/ca.pem sslcrl=/crl.pem sslkeylogfile=/keys sslcert=/c.p12 "
        "sslcertmode=require channel_binding=require",
    )["meaning"]
    for lack in (
        "revocation lists",
        "log",
        "requests a client certificate",
        "present a client certificate",
        "tls-server-end-point",
    ):
        assert lack in meaning["Backend"]
    assert "Backend" not in explained(cli, "host=h")["meaning"]


def test_password_file_is_searched(cli: Callable[..., Outcome], home: Path) -> None:
    """The password is not shown."""
    file = home / "passwords"
    text = f"user=app passfile={file}"

    def told(hosts: str) -> str:
        return str(explained(cli, f"host={hosts} {text}")["meaning"]["Authentication"])

    assert f"without a password: {file} cannot be read" in told("h")
    file.write_text(f"h:*:*:app:{SECRET}\n")
    file.chmod(0o600)
    assert f"with a password from {file}" in told("h")
    assert f"without a password: {file} has no entry for this connection" in told("other")
    assert f"with a password from {file}, which has no entry for other, port 5432." in told("h,other")
    if os.name == "posix":
        file.chmod(0o644)
        assert f"without a password: {file} is not used because other users can read it" in told("h")
    assert (
        f"without a password: {home} is not a plain file"
        in explained(cli, f"host=h passfile={home}")["meaning"]["Authentication"]
    )


def test_callable_password_is_stated_and_not_called() -> None:
    def password() -> str:
        raise AssertionError("it was called")

    config = Config(user="app", password=password)
    meaning = babar_tls.explain.consequences.find_consequences(config)["Authentication"]
    assert meaning.startswith("User app, with a password from a callable.")
    find_weaknesses(config)
