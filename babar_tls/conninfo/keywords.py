"""The keywords of connection strings: those of libpq with their environment variables, and those of this library.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

from __future__ import annotations

from dataclasses import dataclass

#: The oldest version of libpq that can require TLS 1.2 and channel binding.
OLDEST_LIBPQ = 13


@dataclass(frozen=True)
class Keyword:
    """A keyword of connection strings.

    Attributes:
        name: The keyword.
        envvar: The environment variable of the same meaning.
        field: The field of `Config` that has the value, if there is exactly one.
        names_file: The value names a file, a directory, or a service, which is a part of a file.
        secret: The value is a secret.
        in_service_file: Service files may contain the keyword.
        refines: The keyword of libpq that sets the same, or more. If a nearer source has that keyword, this one is
            ignored.
        replaces: If a nearer source has this keyword, the one in `refines` is ignored.
        since: The first version of libpq, from `OLDEST_LIBPQ` on, that has the keyword.
    """

    name: str
    envvar: str | None = None
    field: str | None = None
    names_file: bool = False
    secret: bool = False
    in_service_file: bool = True
    refines: str | None = None
    replaces: bool = True
    since: int = OLDEST_LIBPQ


#: The name of ``channel_binding`` in development versions of PostgreSQL 11, which old strings may still contain.
ALIAS = "scram_channel_binding"

LIBPQ = (
    Keyword("service", "PGSERVICE", names_file=True, in_service_file=False),
    Keyword("servicefile", "PGSERVICEFILE", names_file=True, in_service_file=False, since=19),
    Keyword("user", "PGUSER", "user"),
    Keyword("password", "PGPASSWORD", "password", secret=True),
    Keyword("passfile", "PGPASSFILE", "passfile", names_file=True),
    Keyword("channel_binding", "PGCHANNELBINDING", "channel_binding"),
    Keyword("connect_timeout", "PGCONNECT_TIMEOUT", "connect_timeout"),
    Keyword("dbname", "PGDATABASE", "database"),
    Keyword("host", "PGHOST"),
    Keyword("hostaddr", "PGHOSTADDR"),
    Keyword("port", "PGPORT"),
    Keyword("client_encoding", "PGCLIENTENCODING"),
    Keyword("options", "PGOPTIONS", "options"),
    Keyword("application_name", "PGAPPNAME", "application_name"),
    Keyword("fallback_application_name"),
    Keyword("keepalives", field="keepalives"),
    Keyword("keepalives_idle", field="keepalives_idle"),
    Keyword("keepalives_interval", field="keepalives_interval"),
    Keyword("keepalives_count", field="keepalives_count"),
    Keyword("tcp_user_timeout", field="tcp_user_timeout"),
    Keyword("sslmode", "PGSSLMODE"),
    Keyword("sslnegotiation", "PGSSLNEGOTIATION", "tls_negotiation", since=17),
    Keyword("sslcompression", "PGSSLCOMPRESSION"),
    Keyword("sslcert", "PGSSLCERT", names_file=True),
    Keyword("sslkey", "PGSSLKEY", names_file=True),
    Keyword("sslcertmode", "PGSSLCERTMODE", "tls_client_cert_mode", since=16),
    Keyword("sslpassword", field="tls_client_key_password", secret=True),
    Keyword("sslrootcert", "PGSSLROOTCERT", names_file=True),
    Keyword("sslcrl", "PGSSLCRL", names_file=True),
    Keyword("sslcrldir", "PGSSLCRLDIR", names_file=True, since=14),
    Keyword("sslsni", "PGSSLSNI", "tls_sni", since=14),
    Keyword("requirepeer", "PGREQUIREPEER", "require_peer"),
    Keyword("require_auth", "PGREQUIREAUTH", "require_auth", since=16),
    Keyword("min_protocol_version", "PGMINPROTOCOLVERSION", "min_protocol_version", since=18),
    Keyword("max_protocol_version", "PGMAXPROTOCOLVERSION", "max_protocol_version", since=18),
    Keyword("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", "tls_min_version"),
    Keyword("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", "tls_max_version"),
    Keyword("gssencmode", "PGGSSENCMODE"),
    Keyword("krbsrvname", "PGKRBSRVNAME"),
    Keyword("gsslib", "PGGSSLIB"),
    Keyword("gssdelegation", "PGGSSDELEGATION", since=17),
    Keyword("replication"),
    Keyword("target_session_attrs", "PGTARGETSESSIONATTRS", "target_session_attrs"),
    Keyword("load_balance_hosts", "PGLOADBALANCEHOSTS", "load_balance_hosts", since=16),
    Keyword("scram_client_key", field="scram_client_key", secret=True, since=18),
    Keyword("scram_server_key", field="scram_server_key", secret=True, since=18),
    Keyword("oauth_issuer", since=18),
    Keyword("oauth_client_id", since=18),
    Keyword("oauth_client_secret", secret=True, since=18),
    Keyword("oauth_scope", since=18),
    Keyword("sslkeylogfile", field="tls_key_log_path", names_file=True, since=18),
)

#: Fields of `Config` that are keywords under their own names. They take precedence over libpq's keywords.
OWN = (
    Keyword("tls_mode", refines="sslmode"),
    Keyword("tls_verify", refines="sslmode"),
    Keyword("tls_backend"),
    Keyword("tls_negotiation", refines="sslnegotiation"),
    Keyword("tls_server_name"),
    Keyword("tls_sni", refines="sslsni"),
    Keyword("tls_root_cert_path", names_file=True, refines="sslrootcert"),
    Keyword("tls_default_roots", refines="sslrootcert", replaces=False),
    Keyword("tls_os_roots", refines="sslrootcert", replaces=False),
    Keyword("tls_common_name"),
    Keyword("tls_pins"),
    Keyword("tls_groups"),
    Keyword("tls_ciphers"),
    Keyword("tls_client_cert", names_file=True, refines="sslcert"),
    Keyword("tls_client_key", names_file=True, refines="sslkey"),
    Keyword("tls_client_key_password", secret=True, refines="sslpassword"),
    Keyword("tls_client_cert_mode", refines="sslcertmode"),
    Keyword("tls_crl_path", names_file=True, refines="sslcrl"),
    Keyword("tls_crl_dir", names_file=True, refines="sslcrldir"),
    Keyword("tls_min_version", refines="ssl_min_protocol_version"),
    Keyword("tls_max_version", refines="ssl_max_protocol_version"),
    Keyword("tls_key_log_path", names_file=True, refines="sslkeylogfile"),
    Keyword("tls_fallback", refines="sslmode", replaces=False),
    Keyword("channel_binding_type"),
    Keyword("scram_key_cache"),
    Keyword("scram_min_iterations"),
    Keyword("scram_max_iterations"),
    Keyword("pipelining"),
    Keyword("server_settings"),
)

_ALIAS = Keyword(ALIAS, refines="channel_binding", replaces=False)

#: Every keyword by its name.
KEYWORDS = {keyword.name: keyword for keyword in (*LIBPQ, *OWN, _ALIAS)}
