"""The keywords of connection strings: libpq's, each with its environment variable, and this library's own.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keyword:
    """One word of the vocabulary.

    Attributes:
        name: As a string has it.
        envvar: The environment variable that stands in for it.
        names_file: Its value is the name of a file or directory, or of a service, which is a part of one.
        secret: Its value lets somebody in.
        in_service_file: A service file may have it.
    """

    name: str
    envvar: str | None = None
    names_file: bool = False
    secret: bool = False
    in_service_file: bool = True


#: "The string is complete": nothing adds to it, wherever it is read.
STANDALONE = "standalone"

#: PostgreSQL 11 had this word while it was being developed, and it is still met in strings of that time.
ALIAS = "scram_channel_binding"

_LIBPQ = (
    Keyword("service", "PGSERVICE", names_file=True, in_service_file=False),
    Keyword("servicefile", "PGSERVICEFILE", names_file=True, in_service_file=False),
    Keyword("user", "PGUSER"),
    Keyword("password", "PGPASSWORD", secret=True),
    Keyword("passfile", "PGPASSFILE", names_file=True),
    Keyword("channel_binding", "PGCHANNELBINDING"),
    Keyword("connect_timeout", "PGCONNECT_TIMEOUT"),
    Keyword("dbname", "PGDATABASE"),
    Keyword("host", "PGHOST"),
    Keyword("hostaddr", "PGHOSTADDR"),
    Keyword("port", "PGPORT"),
    Keyword("client_encoding", "PGCLIENTENCODING"),
    Keyword("options", "PGOPTIONS"),
    Keyword("application_name", "PGAPPNAME"),
    Keyword("fallback_application_name"),
    Keyword("keepalives"),
    Keyword("keepalives_idle"),
    Keyword("keepalives_interval"),
    Keyword("keepalives_count"),
    Keyword("tcp_user_timeout"),
    Keyword("sslmode", "PGSSLMODE"),
    Keyword("sslnegotiation", "PGSSLNEGOTIATION"),
    Keyword("sslcompression", "PGSSLCOMPRESSION"),
    Keyword("sslcert", "PGSSLCERT", names_file=True),
    Keyword("sslkey", "PGSSLKEY", names_file=True),
    Keyword("sslcertmode", "PGSSLCERTMODE"),
    Keyword("sslpassword", secret=True),
    Keyword("sslrootcert", "PGSSLROOTCERT", names_file=True),
    Keyword("sslcrl", "PGSSLCRL", names_file=True),
    Keyword("sslcrldir", "PGSSLCRLDIR", names_file=True),
    Keyword("sslsni", "PGSSLSNI"),
    Keyword("requirepeer", "PGREQUIREPEER"),
    Keyword("require_auth", "PGREQUIREAUTH"),
    Keyword("min_protocol_version", "PGMINPROTOCOLVERSION"),
    Keyword("max_protocol_version", "PGMAXPROTOCOLVERSION"),
    Keyword("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    Keyword("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    Keyword("gssencmode", "PGGSSENCMODE"),
    Keyword("krbsrvname", "PGKRBSRVNAME"),
    Keyword("gsslib", "PGGSSLIB"),
    Keyword("gssdelegation", "PGGSSDELEGATION"),
    Keyword("replication"),
    Keyword("target_session_attrs", "PGTARGETSESSIONATTRS"),
    Keyword("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    Keyword("scram_client_key", secret=True),
    Keyword("scram_server_key", secret=True),
    Keyword("oauth_issuer"),
    Keyword("oauth_client_id"),
    Keyword("oauth_client_secret", secret=True),
    Keyword("oauth_scope"),
    Keyword("sslkeylogfile", names_file=True),
)

#: Keywords of which each says what another one says, in libpq's word: where both are given, the nearer source counts.
SAME = {
    "tls_mode": "sslmode",
    "tls_verify": "sslmode",
    "tls_fallback": "sslmode",
    "tls_negotiation": "sslnegotiation",
    "tls_sni": "sslsni",
    "tls_root_cert_path": "sslrootcert",
    "tls_default_roots": "sslrootcert",
    "tls_os_roots": "sslrootcert",
    "tls_client_cert": "sslcert",
    "tls_client_key": "sslkey",
    "tls_client_key_password": "sslpassword",
    "tls_client_cert_mode": "sslcertmode",
    "tls_crl_path": "sslcrl",
    "tls_crl_dir": "sslcrldir",
    "tls_min_version": "ssl_min_protocol_version",
    "tls_max_version": "ssl_max_protocol_version",
    "tls_key_log_path": "sslkeylogfile",
    ALIAS: "channel_binding",
}

#: Those of them that say only a part of it, and leave the rest to libpq's word wherever that stands.
_PARTS = frozenset(["tls_fallback", "tls_default_roots", "tls_os_roots", ALIAS])


def rivals(keyword: str) -> frozenset[str]:
    """The keywords that leave nothing for this one to say, where a nearer source has them."""
    if keyword in SAME:
        return frozenset([SAME[keyword]])
    return frozenset(own for own, word in SAME.items() if word == keyword) - _PARTS


#: Fields of `Config` that are keywords under their own names: what they mean is more than libpq's words can say.
OWN = (
    Keyword("tls_mode"),
    Keyword("tls_verify"),
    Keyword("tls_backend"),
    Keyword("tls_negotiation"),
    Keyword("tls_server_name"),
    Keyword("tls_sni"),
    Keyword("tls_root_cert_path", names_file=True),
    Keyword("tls_default_roots"),
    Keyword("tls_os_roots"),
    Keyword("tls_common_name"),
    Keyword("tls_pins"),
    Keyword("tls_groups"),
    Keyword("tls_ciphers"),
    Keyword("tls_client_cert", names_file=True),
    Keyword("tls_client_key", names_file=True),
    Keyword("tls_client_key_password", secret=True),
    Keyword("tls_client_cert_mode"),
    Keyword("tls_crl_path", names_file=True),
    Keyword("tls_crl_dir", names_file=True),
    Keyword("tls_min_version"),
    Keyword("tls_max_version"),
    Keyword("tls_key_log_path", names_file=True),
    Keyword("tls_fallback"),
    Keyword("channel_binding_type"),
    Keyword("scram_key_cache"),
    Keyword("scram_min_iterations"),
    Keyword("scram_max_iterations"),
    Keyword("pipelining"),
    Keyword("server_settings"),
)

#: Every keyword by its name.
KEYWORDS = {
    keyword.name: keyword for keyword in (*_LIBPQ, *OWN, Keyword(ALIAS), Keyword(STANDALONE, in_service_file=False))
}
