"""``babar-tls explain``: every parameter with its origin, the truth in plain words, and a stronger line that is."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.config import Config
from babar_tls.weaknesses import weaknesses

if TYPE_CHECKING:
    from collections.abc import Callable
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
    """An engine that is named is the one that is explained."""
    document = explained(cli, "host=h", "--backend", "openssl")
    assert sources(document)["tls_backend"] == ("openssl", "argument --backend")
    assert "by the engine openssl" in document["meaning"]["Encryption"]
