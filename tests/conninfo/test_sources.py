"""The sources of values (string, service, environment, default files), and the restrictions on untrusted strings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from babar_tls.config import ChannelBinding, ClientCertMode, Config, TlsMode, TlsVerify, TlsVersion
from babar_tls.conninfo import interpret
from babar_tls.conninfo.keywords import KEYWORDS
from babar_tls.conninfo.sources import Setting, resolve
from babar_tls.errors import ConfigError

from .fields import config_fields

pytestmark = pytest.mark.usefixtures("home")


def sources(text: str, **options: Any) -> dict[str, tuple[str, str]]:
    return {name: (setting.value, setting.source) for name, setting in resolve(text, **options).items()}


def test_each_setting_has_its_source(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".pg_service.conf").write_text("[billing]\nhost=h\nport=6000\n")
    environ = {"HOME": str(home), "PGPORT": "7000", "PGUSER": "ann", "PGSERVICE": "shop"}
    service = f'service file "{home / ".pg_service.conf"}", service "billing"'
    assert sources("service=billing dbname=d", environ=environ) == {
        "service": ("billing", "connection string"),
        "dbname": ("d", "connection string"),
        "host": ("h", service),
        "port": ("6000", service),
        "user": ("ann", "environment variable PGUSER"),
    }
    monkeypatch.setenv("PGUSER", "bob")
    assert sources("")["user"] == ("bob", "environment variable PGUSER")


@pytest.mark.parametrize("keyword", [keyword for keyword in KEYWORDS.values() if keyword.envvar], ids=lambda k: k.name)
def test_variable_sets_its_keyword(keyword: Any) -> None:
    """An empty variable sets an empty value."""
    if keyword.name in ("service", "servicefile"):
        with pytest.raises(ConfigError, match=r"^definition of service|^service file"):
            resolve("service=s" if keyword.name == "servicefile" else "", environ={keyword.envvar: "/missing"})
        return
    for value in ("x", ""):
        assert resolve("", environ={keyword.envvar: value}) == {
            keyword.name: Setting(keyword.name, value, f"environment variable {keyword.envvar}")
        }
    assert resolve(f"{keyword.name}=y", environ={keyword.envvar: "x"})[keyword.name].value == "y"


def test_pgrequiressl_sets_sslmode_if_nothing_else_does() -> None:
    assert sources("", environ={"PGREQUIRESSL": "1"}) == {"sslmode": ("require", "environment variable PGREQUIRESSL")}
    assert sources("", environ={"PGREQUIRESSL": "0"}) == {}
    assert sources("", environ={"PGREQUIRESSL": "1", "PGSSLMODE": "disable"})["sslmode"][0] == "disable"


def test_users_service_file_precedes_the_system_service_file(home: Path) -> None:
    (home / "etc").mkdir()
    (home / "etc" / "pg_service.conf").write_text("[a]\nhost=system\n[b]\nhost=system\n")
    (home / ".pg_service.conf").write_text("[a]\nhost=user\n")
    (home / "named").write_text("[a]\nhost=named\n")
    assert resolve("service=a")["host"].value == "user"
    assert resolve("service=b")["host"].value == "system"
    assert resolve(f"service=a servicefile={home / 'named'}")["host"].value == "named"
    assert resolve("service=a", environ={"PGSERVICEFILE": str(home / "named")})["host"].value == "named"
    with pytest.raises(ConfigError, match=r'^definition of service "c" not found\nSearched: '):
        resolve("service=c")
    with pytest.raises(ConfigError, match=r'^service file "/missing" not found'):
        resolve("service=a servicefile=/missing")


@pytest.mark.parametrize("line", ["hunter2", "pasword=hunter2", "ldap://hunter2", "service=hunter2", "x" * 1100])
def test_service_file_errors_show_no_values(line: str, home: Path) -> None:
    """A service file may contain passwords: errors show the file and the line number."""
    (home / ".pg_service.conf").write_text(f"[s]\nhost=h\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        resolve("service=s")
    assert "hunter2" not in str(caught.value)
    assert "line 3" in str(caught.value)
    assert ".pg_service.conf" in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes and devices in the file system")
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: os.mkfifo(path, 0o600), "it is not a regular file"),
        (Path.mkdir, "it is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is not a regular file"),
        (lambda path: (path.touch(), os.truncate(path, (1 << 22) + 1)), "it is too large"),
    ],
    ids=["pipe", "directory", "device", "too large"],
)
def test_unusual_service_files_are_refused_without_waiting(make: Any, why: str, named: bool, home: Path) -> None:
    """The path can come from the author of the string."""
    path = home / ("named" if named else ".pg_service.conf")
    make(path)
    with pytest.raises(ConfigError) as caught:
        Config.from_conninfo(f"service=s servicefile={path}" if named else "service=s")
    assert caught.value.message == f'service file "{path}" not found'
    assert str(caught.value.remedy).startswith(why)


def test_service_file_lines_end_only_at_newlines(home: Path) -> None:
    (home / ".pg_service.conf").write_bytes(b"[s]\r\nhost=h\x0b\x0c\r\nuser=a\rb\n\n[t]\nhost=z\ndbname=d")
    assert sources("service=s")["host"][0] == "h"
    assert sources("service=s")["user"][0] == "a\rb"
    assert sources("service=t")["dbname"][0] == "d"


def test_service_file_may_contain_keywords_of_this_library(home: Path) -> None:
    (home / ".pg_service.conf").write_text("[s]\ntls_backend=openssl\n[t]\nservicefile=/f\n")
    assert Config.from_conninfo("service=s user=u").tls_backend == "openssl"
    with pytest.raises(ConfigError, match="syntax error in service file"):
        resolve("service=t")


def test_errors_name_the_source_of_a_value(home: Path) -> None:
    with pytest.raises(
        ConfigError, match=r'^invalid sslmode value: "on"\n.* It comes from environment variable PGSSLMODE'
    ):
        config_fields("", environ={"PGSSLMODE": "on"})
    (home / ".pg_service.conf").write_text("[s]\nport=x\n")
    with pytest.raises(ConfigError, match=r"It comes from service file .*pg_service.conf.*, service .s.\.$"):
        config_fields("service=s")


def test_repr_of_setting_and_field_shows_no_value() -> None:
    settings = resolve("password=hunter2 sslpassword=hunter2", environ={})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(interpret(settings))
    assert "hunter2" not in repr(Config.from_conninfo("password=hunter2 sslpassword=hunter2", environ={}))


def test_each_field_has_value_keyword_and_source(home: Path) -> None:
    folder = home / ".postgresql"
    folder.mkdir()
    for name in ("root.crt", "root.crl", "postgresql.crt"):
        (folder / name).touch()
    (home / ".pgpass").touch()
    environ = {"HOME": str(home), "PGSSLMODE": "verify-full", "PGUSER": "ann"}
    fields = interpret(
        resolve("host=a,b channel_binding=require tls_min_version=TLSv1.3", environ=environ), environ=environ
    )
    found = {name: (field.keyword, field.source) for name, field in fields.items() if field.source != "default"}
    assert found == {
        "host": ("host", "connection string"),
        "hosts": ("host", "connection string"),
        "user": ("user", "environment variable PGUSER"),
        "passfile": ("passfile", f'default file "{home / ".pgpass"}"'),
        "tls_mode": ("sslmode", "environment variable PGSSLMODE"),
        "tls_verify": ("sslmode", "environment variable PGSSLMODE"),
        "tls_fallback": ("sslmode", "environment variable PGSSLMODE"),
        "tls_common_name": ("sslmode", "environment variable PGSSLMODE"),
        "tls_root_cert_path": ("sslrootcert", f'default file "{folder / "root.crt"}"'),
        "tls_default_roots": ("sslrootcert", f'default file "{folder / "root.crt"}"'),
        "tls_crl_path": ("sslcrl", f'default file "{folder / "root.crl"}"'),
        "tls_client_cert": ("sslcert", f'default file "{folder / "postgresql.crt"}"'),
        "tls_client_key": ("sslkey", f'default file "{folder / "postgresql.key"}"'),
        "tls_min_version": ("tls_min_version", "connection string"),
        "channel_binding": ("channel_binding", "connection string"),
    }
    config = Config.from_conninfo("host=a,b channel_binding=require tls_min_version=TLSv1.3", environ=environ)
    assert {name: getattr(config, name) for name in fields if name != "user"} == {
        name: field.value for name, field in fields.items() if name != "user"
    }


# Untrusted strings -------------------------------------------------------------------------------------------------

FILES = [keyword.name for keyword in KEYWORDS.values() if keyword.names_file]


@pytest.mark.parametrize("keyword", FILES)
def test_untrusted_string_that_names_a_file_is_refused(keyword: str) -> None:
    """With ``allow_files=False`` a keyword that names a file or a service is refused."""
    with pytest.raises(
        ConfigError, match=f'^connection option "{keyword}" names a file, which allow_files=False does not allow'
    ):
        config_fields(f"host=h {keyword}=x", allow_files=False)
    with pytest.raises(ConfigError, match="names a file"):
        config_fields(f"postgresql://h?{keyword}=x", allow_files=False)
    assert config_fields(f"host=h {keyword}=''", allow_files=False)["host"] == "h"


def test_all_keywords_that_name_files_are_marked() -> None:
    assert set(FILES) == {
        *("service", "servicefile", "passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir"),
        *("sslkeylogfile", "tls_root_cert_path", "tls_client_cert", "tls_client_key", "tls_crl_path", "tls_crl_dir"),
        "tls_key_log_path",
    }


def test_nothing_secret_is_added_to_untrusted_string(home: Path) -> None:
    """Variables that are not secret are still used."""
    folder = home / ".postgresql"
    folder.mkdir()
    for name in ("root.crt", "root.crl", "postgresql.crt", "postgresql.key"):
        (folder / name).touch()
    (home / ".pgpass").touch()
    environ = {keyword.envvar: "/x" for keyword in KEYWORDS.values() if keyword.envvar and keyword.names_file}
    environ |= {"HOME": str(home), "PGPASSWORD": "hunter2", "PGUSER": "ann", "PGSSLMODE": "require", "PGPORT": "1"}
    config = Config.from_conninfo("host=evil.example", allow_files=False, environ=environ)
    assert config == Config(host="evil.example", user="ann", port=1, tls_verify=TlsVerify.NONE)
    assert Config.from_conninfo("host=/run/pg", allow_files=False, environ={}).host == "/run/pg"


def test_system_roots_are_allowed_in_untrusted_string() -> None:
    environ = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "system"}
    for text, variables in (("", environ), ("sslrootcert=system sslmode=verify-full", {})):
        config = Config.from_conninfo(text, allow_files=False, environ=variables)
        assert (config.tls_mode, config.tls_default_roots, config.tls_common_name) == (TlsMode.REQUIRE, True, True)


def test_environ_replaces_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "process")
    assert Config.from_conninfo("", environ={"PGHOST": "given"}).host == "given"
    assert Config.from_conninfo("").host == "process"
    root = Config.from_conninfo("", environ={"HOME": "/nowhere", "PGSSLMODE": "verify-ca"}).tls_root_cert_path
    assert root == str(Path("/nowhere/.postgresql/root.crt"))


# Two keywords for one value-------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "string", "expected"),
    [
        ("tls_verify=none", "sslmode=verify-full", {"tls_verify": TlsVerify.FULL}),
        ("tls_mode=disable", "sslmode=verify-full", {"tls_mode": TlsMode.REQUIRE, "tls_verify": TlsVerify.FULL}),
        (
            "tls_root_cert_path=/theirs\ntls_default_roots=1",
            "sslmode=verify-full sslrootcert=/mine",
            {"tls_root_cert_path": "/mine", "tls_default_roots": False},
        ),
        (
            "tls_client_cert_mode=allow\ntls_client_cert=/c",
            "sslcertmode=disable",
            {"tls_client_cert_mode": ClientCertMode.DISABLE},
        ),
        ("tls_min_version=TLSv1.2", "ssl_min_protocol_version=TLSv1.3", {"tls_min_version": TlsVersion.TLSV1_3}),
        ("scram_channel_binding=", "channel_binding=prefer", {"channel_binding": ChannelBinding.PREFER}),
        ("tls_key_log_path=/log", "sslkeylogfile=", {"tls_key_log_path": None}),
        ("sslmode=disable", "tls_mode=require", {"tls_mode": TlsMode.REQUIRE, "tls_verify": TlsVerify.FULL}),
        ("sslmode=require", "tls_verify=full", {"tls_mode": TlsMode.REQUIRE, "tls_verify": TlsVerify.FULL}),
        ("sslrootcert=/theirs", "tls_root_cert_path=/mine", {"tls_root_cert_path": "/mine"}),
        (
            "tls_default_roots=0",
            "tls_root_cert_path=/mine",
            {"tls_root_cert_path": "/mine", "tls_default_roots": False},
        ),
        ("tls_verify=ca", "tls_mode=allow", {"tls_mode": TlsMode.ALLOW, "tls_verify": TlsVerify.CA}),
        ("tls_mode=allow", "tls_verify=full", {"tls_mode": TlsMode.ALLOW, "tls_verify": TlsVerify.FULL}),
        ("sslrootcert=/theirs", "sslmode=verify-ca", {"tls_root_cert_path": "/theirs", "tls_verify": TlsVerify.CA}),
    ],
)
def test_nearer_source_decides_whichever_keyword_it_uses(
    service: str, string: str, expected: dict[str, object], home: Path
) -> None:
    (home / "services").write_text(f"[s]\n{service}\n")
    fields = config_fields(f"service=s servicefile={home / 'services'} {string}", environ={"HOME": str(home)})
    assert {name: fields[name] for name in expected} == expected


def test_environment_does_not_weaken_tls_fields_of_the_string(home: Path) -> None:
    text = "host=h tls_mode=require tls_verify=full sslrootcert=/private.pem sslcert=/c sslkey=/k sslcrl=/crl"
    for mode in ("disable", "prefer", "require"):
        fields = config_fields(text, environ={"HOME": str(home), "PGSSLMODE": mode})
        assert (fields["tls_root_cert_path"], fields["tls_default_roots"]) == ("/private.pem", False)
        assert (fields["tls_client_cert"], fields["tls_crl_path"]) == ("/c", "/crl")
        assert (fields["tls_mode"], fields["tls_verify"]) == (TlsMode.REQUIRE, TlsVerify.FULL)
        fields = config_fields("host=h tls_mode=require", environ={"HOME": str(home), "PGSSLMODE": mode})
        assert fields["tls_verify"] is TlsVerify.FULL


def test_tls_mode_as_argument_keeps_the_files_of_the_string(home: Path) -> None:
    text = "host=h user=u sslmode=disable sslrootcert=/private.pem sslcert=/c sslkey=/k"
    config = Config.from_conninfo(text, environ={"HOME": str(home)}, tls_mode="require")
    assert (config.tls_root_cert_path, config.tls_default_roots) == ("/private.pem", False)
    assert (config.tls_verify, config.tls_client_cert) == (TlsVerify.FULL, "/c")


@pytest.mark.parametrize(
    ("text", "verify"),
    [
        ("", TlsVerify.FULL),
        ("sslmode=prefer", TlsVerify.CA),
        ("sslmode=require", TlsVerify.CA),
        ("sslmode=require sslrootcert=/theirs", TlsVerify.CA),
        ("sslmode=verify-full sslrootcert=system", TlsVerify.FULL),
        ("sslmode=verify-full", TlsVerify.FULL),
    ],
)
def test_root_file_as_argument_counts_like_sslrootcert(text: str, verify: TlsVerify, home: Path) -> None:
    (home / ".postgresql").mkdir()
    for root_file in (False, True):
        if root_file:
            (home / ".postgresql" / "root.crt").touch()
        environ = {"HOME": str(home)}
        config = Config.from_conninfo(f"user=u {text}", environ=environ, tls_root_cert_path=Path("/mine.pem"))
        assert (config.tls_root_cert_path, config.tls_default_roots) == ("/mine.pem", False)
        assert config.tls_verify is verify
    both = Config.from_conninfo("user=u", environ={}, tls_root_cert_path="/mine.pem", tls_default_roots=True)
    assert both.tls_default_roots


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("", {"PGHOSTADDR": "foo"}),
        ("host=a", {"PGPORT": "1,2"}),
        ("ssl_max_protocol_version=TLSv1.2", {"PGSSLMINPROTOCOLVERSION": "TLSv1.3"}),
        ("host=/run", {"PGCHANNELBINDING": "require"}),
        ("sslmode=disable", {"PGSSLCERTMODE": "require"}),
        ("channel_binding=require", {"PGSSLMODE": "disable"}),
        (f"tls_pins=sha256:{'a' * 64}", {"PGSSLMODE": "prefer"}),
    ],
)
def test_errors_about_contradictions_name_the_other_sources(text: str, environ: dict[str, str], home: Path) -> None:
    (name,) = environ
    with pytest.raises(ConfigError, match=rf"environment variable {name}"):
        Config.from_conninfo(text, environ={"HOME": str(home), **environ})
