"""``babar-tls explain``: every parameter with its origin, the truth in plain words, and a stronger line that is."""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

import babar_tls.explain.explanation
from babar_tls.backends import Capabilities
from babar_tls.config import Config
from babar_tls.config.enums import TlsVersion
from babar_tls.errors import BackendUnavailable, ConfigError
from babar_tls.explain.weaknesses import weaknesses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Outcome

SECRET = "hush-hush"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without files, and an environment without PG*."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PGUSER", "PGPASSWORD", "PGSSLMODE", "PGHOST", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def explained(cli: Callable[..., Outcome], text: str, *arguments: str) -> dict[str, Any]:
    outcome = cli("explain", text, "--json", *arguments)
    assert outcome.status == 0, outcome
    assert SECRET not in outcome.out + outcome.err
    return outcome.document


def sources(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item["name"]: (item["value"], item["source"]) for item in document["parameters"]}


def test_where_it_comes_from(cli: Callable[..., Outcome], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each parameter names the string, the service, the variable or the file that it comes from."""
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


def test_as_a_table(cli: Callable[..., Outcome]) -> None:
    """For people it is a table: what is not a default, what follows from it, what is weak."""
    outcome = cli("explain", f"host=db.example.com user=app password={SECRET} sslmode=require")
    assert outcome.status == 0
    assert SECRET not in outcome.out
    for text in ("(hidden)", "connection string: sslmode", "None: any certificate will do", "sslmode=verify-full"):
        assert text in outcome.out
    assert "keepalives_idle" not in outcome.out
    assert "keepalives_idle" in cli("explain", "host=db.example.com", "--all").out
    best = "host=db.example.com user=app sslmode=verify-full sslrootcert=system channel_binding=require"
    assert "Nothing in it is weak." in cli("explain", best).out


@pytest.mark.parametrize(
    ("text", "topic", "meaning"),
    [
        ("host=h sslmode=disable", "Encryption", "Never"),
        ("host=h sslmode=allow", "Encryption", "Only if the server refuses a plain connection"),
        ("host=h sslmode=prefer", "Encryption", "if TLS fails or the server refuses, in plain text"),
        ("host=h", "Encryption", "Always"),
        ("host=/run/postgresql", "Encryption", "does not leave this machine"),
        ("host=h sslnegotiation=direct sslmode=require", "Encryption", "from the first byte"),
        ("host=h ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.3", "Encryption", "TLSv1.3 alone"),
        ("host=h sslmode=verify-full sslrootcert=/ca.pem", "Trusted roots", "Those of /ca.pem, and no others"),
        ("host=h", "Verification", "that it is for h."),
        ("host=h sslmode=verify-full sslrootcert=system", "Verification", "a common name counts"),
        ("host=h sslmode=require sslrootcert=/ca.pem", "Verification", "not its name"),
        ("host=h sslcert=/c.pem sslkey=/k.pem", "Our certificate", "/c.pem, if the server asks"),
        ("host=h sslmode=require", "Password in clear", "Never: the server is not verified"),
        ("host=h", "Password in clear", "inside TLS to a verified server; never otherwise"),
        ("host=h require_auth=!password", "Password in clear", "Never: require_auth"),
        ("host=h channel_binding=require", "Password in clear", "Never: only SCRAM"),
        ("host=h sslmode=prefer require_auth=password", "Password in clear", "whether there is TLS or not"),
        ("host=/run/postgresql", "Password in clear", "over the local socket"),
        ("host=h sslmode=prefer", "Password hashed", "in plain text where there is no TLS"),
        ("host=h", "Password hashed", "inside TLS to a verified server"),
        ("host=h require_auth=scram-sha-256", "Password hashed", "Never"),
        ("host=h channel_binding=require", "Channel binding", "Always, by tls-server-end-point"),
        ("host=h require_auth=md5", "Channel binding", "None: require_auth does not allow SCRAM"),
        ("host=h channel_binding_type=tls-exporter", "Channel binding", "PostgreSQL itself does not accept"),
        ("host=/tmp,h", "Encryption", "TCP: always: TLS or no connection. TLSv1.2 or newer"),
        ("host=/tmp,h", "Encryption", "Socket: none is needed: a Unix-domain socket does not leave"),
        ("host=/tmp,h sslmode=require", "Password in clear", "TCP: never: the server is not verified"),
        ("host=/tmp,h sslmode=require", "Password in clear", "Socket: if the server asks for it, over the local"),
        ("host=/tmp,h require_auth=md5", "Password in clear", "Never: require_auth does not allow it."),
        ("host=/tmp,h", "Password hashed", "TCP: by md5, if the server asks for it, inside TLS to a verified server."),
        ("host=/tmp,h", "Password hashed", "Socket: by md5, if the server asks for it, over the local socket."),
        ("host=/tmp,h", "Channel binding", "TCP: by tls-server-end-point if"),
        ("host=/tmp,h", "Channel binding", "Socket: none: there is no TLS"),
        ("host=/tmp,h sslmode=disable", "Channel binding", "TCP: none: TLS is disabled."),
        ("host=h sslmode=prefer", "If it is refused", "followed by one without"),
        ("host=h sslmode=allow", "If it is refused", "followed by one with TLS"),
        ("host=a,b", "If it is refused", "The next host is tried"),
        ("host=a,b port=1,2 load_balance_hosts=random", "Server", "a, port 1; then b, port 2"),
        ("host=a,b target_session_attrs=prefer-standby", "Server", "A standby is taken if there is one"),
        ("host=a connect_timeout=0", "Server", "without limit of time"),
    ],
)
def test_in_plain_words(cli: Callable[..., Outcome], text: str, topic: str, meaning: str) -> None:
    """What follows from a string is said, and as it is."""
    assert meaning in explained(cli, text)["meaning"][topic]


WEAK = {
    "sslmode": ["", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
    "sslrootcert": ["", "/ca.pem"],
    "require_auth": ["", "password", "!md5", "scram-sha-256"],
    "channel_binding": ["", "disable", "require"],
}


def test_the_stronger_line_is_stronger(cli: Callable[..., Outcome]) -> None:
    """With all advice taken nothing is weak any more, what was said otherwise still stands, and no secret is in it."""
    seen = 0
    for values in itertools.product(*WEAK.values()):
        pairs = {keyword: value for keyword, value in zip(WEAK, values, strict=True) if value}
        if pairs.get("channel_binding") == "require" and pairs.get("sslmode") == "disable":
            continue
        text = " ".join(f"{keyword}={value}" for keyword, value in pairs.items())
        document = explained(cli, f"host=db.example.com user=app password={SECRET} {text}")
        assert bool(document["warnings"]) is (document["stronger"] is not None)
        if document["stronger"] is None:
            continue
        seen += 1
        stronger = Config.from_conninfo(document["stronger"])
        assert list(weaknesses(stronger)) == [], text
        assert (stronger.host, stronger.user) == ("db.example.com", "app")
    assert seen > 100


PROBED = {
    "host": ["", "db.example.com", "/run/s", "/run/s,db.example.com", "a.example.com,@b,c.example.com"],
    "sslmode": ["", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
    "sslrootcert": ["", "system", "/ca.pem"],
    "tls_mode": ["", "disable", "prefer", "require"],
    "tls_verify": ["", "none", "ca", "full"],
    "tls_default_roots": ["", "0", "1"],
    "tls_root_cert_path": ["", "", "/own.pem"],
    "tls_os_roots": ["", "1"],
    "tls_pins": ["", "", "", f"sha256:{'00' * 32}"],
    "tls_backend": ["", "openssl"],
    "sslkeylogfile": ["", "", "/keys"],
    "tls_key_log_path": ["", "", "/keys"],
    "sslnegotiation": ["", "", "direct"],
    "channel_binding": ["", "disable", "require"],
    "scram_channel_binding": ["", "", "''", "tls-unique"],
    "channel_binding_type": ["", "tls-unique", "tls-exporter"],
    "ssl_min_protocol_version": ["", "TLSv1.3"],
    "require_auth": ["", "password", "!md5", "scram-sha-256", "none"],
    "standalone": ["", "1"],
}


def accepted(count: int) -> Iterator[str]:
    """Strings of which a `Config` can be made, the same ones each time."""
    chance = random.Random(4711)  # noqa: S311 - the same ones, not secret ones
    while count:
        chosen = {keyword: chance.choice(values) for keyword, values in PROBED.items() if chance.random() < 0.5}
        text = " ".join(f"{keyword}={value}" for keyword, value in {"user": "app", **chosen}.items() if value)
        try:
            Config.from_conninfo(text)
        except ConfigError:
            continue
        count -= 1
        yield text


def test_whatever_can_be_is_explained(cli: Callable[..., Outcome]) -> None:
    """No string that connecting would accept is too odd, and a stronger one is accepted and leaves nothing to mend."""
    seen = 0
    for text in accepted(600):
        document = explained(cli, text)
        mended = any(warning["change"] for warning in document["warnings"])
        assert mended is (document["stronger"] is not None), text
        if mended:
            seen += 1
            stronger = Config.from_conninfo(document["stronger"])
            assert not any(advice.change for advice in weaknesses(stronger)), (text, document["stronger"])
            assert stronger.targets == Config.from_conninfo(text).targets
    assert seen > 300


@pytest.mark.parametrize(
    ("text", "stronger"),
    [
        (
            "host=/tmp,h user=u sslmode=require",
            "host=/tmp,h user=u sslmode=verify-full sslrootcert=system require_auth=scram-sha-256",
        ),
        (
            "host=h user=u channel_binding_type=tls-unique ssl_min_protocol_version=TLSv1.3",
            "host=h user=u ssl_min_protocol_version=TLSv1.3 require_auth=scram-sha-256 channel_binding=require",
        ),
        (
            "standalone=1 tls_verify=ca user=u channel_binding=require",
            "standalone=1 user=u channel_binding=require sslmode=verify-full sslrootcert=system",
        ),
        (
            "standalone=1 tls_verify=none tls_root_cert_path=/ca.pem user=u channel_binding=require",
            "standalone=1 user=u channel_binding=require sslmode=verify-full tls_default_roots=1 sslrootcert=/ca.pem",
        ),
        (
            "host=h sslmode=disable sslrootcert=/ca.pem",
            "host=h sslmode=verify-full sslrootcert=/ca.pem require_auth=scram-sha-256 channel_binding=require",
        ),
        ("host=h channel_binding=require sslkeylogfile=/keys", "host=h channel_binding=require"),
        ("host=h channel_binding=require tls_key_log_path=/keys", "host=h channel_binding=require"),
        ("host=h channel_binding=require options=''", None),
        ("host=/tmp sslkeylogfile=/keys", None),
    ],
)
def test_the_stronger_line(cli: Callable[..., Outcome], text: str, stronger: str | None) -> None:
    """It changes what is weak and nothing else, and in words that can stand beside the rest."""
    assert explained(cli, text)["stronger"] == stronger


def test_advice_that_cannot_stand(cli: Callable[..., Outcome]) -> None:
    """What would not be accepted is not advised; the warning remains, and no line promises that it does not."""
    token = "host=h user=u sslmode=disable sslcert=/c.pem sslkey=pkcs11:key"
    document = explained(cli, token)
    assert "plain text" in document["warnings"][0]["text"]
    assert document["warnings"][0]["change"] == {}
    assert document["stronger"] is None
    outcome = cli("explain", token)
    assert "Nothing in it is weak" not in outcome.out
    assert "Stronger" not in outcome.out
    # No keyword string can hold this value, which other libraries would take for another keyword.
    assert explained(cli, "postgresql://h/?sslmode=require&options=a%3Bhost%3Db")["stronger"] is None


def test_sockets_among_the_hosts(cli: Callable[..., Outcome]) -> None:
    """Channel binding cannot be required of them, so it is not advised, and why is said."""
    document = explained(cli, "host=/tmp,h require_auth=scram-sha-256")
    assert document["stronger"] is None
    (warning,) = document["warnings"]
    assert warning["change"] == {}
    assert "Unix-domain socket" in warning["text"]


def test_the_key_log(cli: Callable[..., Outcome], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a weakness, whoever asks for it, that is mended by its absence."""
    best = "host=h channel_binding=require"
    document = explained(cli, f"{best} sslkeylogfile=/keys")
    assert document["warnings"][0]["change"] == {"sslkeylogfile": None}
    drawn = cli("explain", f"{best} sslkeylogfile=/keys").out
    assert "drop sslkeylogfile" in drawn
    assert "Nothing in it is weak" not in drawn
    assert "sslkeylogfile=None" not in drawn
    service = home / "services"
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    for word in ("sslkeylogfile", "tls_key_log_path"):
        service.write_text(f"[s]\n{word}=/keys\n")
        stronger = explained(cli, f"{best} service=s")["stronger"]
        assert stronger == f"{best} service=s sslkeylogfile=''"
        assert Config.from_conninfo(stronger).tls_key_log_path is None


def test_own_words_do_not_keep_it_weak(cli: Callable[..., Outcome]) -> None:
    """The line drops what would go on saying the contrary."""
    for text in ("tls_verify=none", "tls_mode=prefer tls_fallback=1", "scram_channel_binding=''"):
        stronger = explained(cli, f"host=db.example.com {text}")["stronger"]
        assert list(weaknesses(Config.from_conninfo(stronger))) == [], stronger


def test_somebody_elses_string(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """With --untrusted it may name no file, and nothing of ours is added to it."""
    outcome = cli("explain", "host=h sslkey=/etc/shadow", "--untrusted")
    assert outcome.status == 2
    assert "names a file" in outcome.err
    monkeypatch.setenv("PGPASSWORD", SECRET)
    assert sources(explained(cli, "host=h", "--untrusted"))["password"] == ("-", "default")
    assert sources(explained(cli, "host=h"))["password"] == ("(hidden)", "environment variable PGPASSWORD")


def test_what_cannot_be(cli: Callable[..., Outcome]) -> None:
    """A string that cannot be is refused with the reason that connecting would give, and shows no password."""
    outcome = cli("explain", f"host=h password={SECRET} sslmode=perhaps", "--json")
    assert outcome.status == 2
    assert 'invalid sslmode value: "perhaps"' in outcome.document["error"]["message"]
    assert SECRET not in outcome.out


def test_the_engine(cli: Callable[..., Outcome]) -> None:
    """An engine that is named is the one that is explained; where there can be no TLS none is needed."""
    document = explained(cli, "host=h", "--backend", "openssl")
    assert sources(document)["tls_backend"] == ("openssl", "argument --backend")
    assert "by the engine openssl" in document["meaning"]["Encryption"]
    for outcome in (cli("explain", "host=h", "--backend", "bogus", "--json"), cli("explain", "tls_backend=bogus")):
        assert outcome.status == 2
        assert "unknown TLS backend 'bogus'" in outcome.out + outcome.err
    assert "Engine" not in explained(cli, "host=/tmp", "--backend", "bogus")["meaning"]


def test_an_engine_that_is_not_installed(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is explained with all the rest, and that it is missing is said."""

    def missing(name: str) -> None:
        raise BackendUnavailable(f"TLS backend {name!r} cannot be used: it is away")

    monkeypatch.setattr(babar_tls.explain.explanation, "get_backend", missing)
    meaning = explained(cli, "host=h", "--backend", "openssl")["meaning"]
    assert meaning["Engine"] == "TLS backend 'openssl' cannot be used: it is away. Connecting will fail."


def test_what_the_engine_cannot_do(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for and the engine does not have is said; what is not asked for is not."""
    pytest.importorskip("OpenSSL")
    openssl = "host=h tls_backend=openssl"
    meaning = explained(cli, f"{openssl} tls_os_roots=1")["meaning"]
    lack = "openssl cannot use the operating system's verifier (truststore)"
    assert meaning["Engine"] == f"{lack}: connecting by TLS will fail."
    for text in (openssl, f"{openssl} tls_os_roots=1 tls_verify=none", f"{openssl} tls_os_roots=1 sslmode=disable"):
        assert "Engine" not in explained(cli, text)["meaning"]

    class Poor:
        capabilities = Capabilities(
            version="",
            tls_versions=tuple(TlsVersion),
            channel_bindings=(),
        )

    monkeypatch.setattr(babar_tls.explain.explanation, "get_backend", lambda _: Poor())
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
        assert lack in meaning["Engine"]
    assert "Engine" not in explained(cli, "host=h")["meaning"]


def test_the_password_file(cli: Callable[..., Outcome], home: Path) -> None:
    """Whether it has a password for this connection is looked up, and never which."""
    file = home / "passwords"
    text = f"user=app passfile={file}"

    def told(hosts: str) -> str:
        return str(explained(cli, f"host={hosts} {text}")["meaning"]["Authentication"])

    assert f"without a password: {file} cannot be read" in told("h")
    file.write_text(f"h:*:*:app:{SECRET}\n")
    file.chmod(0o600)
    assert f"with the password that {file} has for it" in told("h")
    assert f"without a password: {file} has none for it" in told("other")
    assert f"with a password from {file} where it has one: not for other, port 5432." in told("h,other")
    if os.name == "posix":
        file.chmod(0o644)
        assert f"without a password: {file} is not used, because others may read it" in told("h")
    assert (
        f"without a password: {home} is no plain file"
        in explained(cli, f"host=h passfile={home}")["meaning"]["Authentication"]
    )
