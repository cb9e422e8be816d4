"""Cases for a server as it is: modes, pg_hba.conf, credentials, channel binding, methods, files."""

from __future__ import annotations

from itertools import product

from .cases import Case, tcp

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SCOPES = ("any", "ssl", "nossl")


def _mode(mode: str) -> dict[str, str]:
    """Return the mode, and the root file if it needs one."""
    return {"sslmode": mode, "sslrootcert": "{root}"} if mode.startswith("verify") else {"sslmode": mode}


def hba(server: str, modes: tuple[str, ...] = MODES) -> list[Case]:
    """Return every mode with every kind of line in pg_hba.conf."""
    roles = [f"{method}_{scope}" for method in ("scram", "md5", "password", "trust", "reject") for scope in _SCOPES]
    roles += ["sslreject_trust", "sslreject_scram", "nosslreject_trust", "nosslreject_scram"]
    roles += ["sslscram_trust", "ssltrust_scram", "sslscram_md5", "sslcert_trust"]
    return [Case(tcp(server, user=role, **_mode(mode)), (server,)) for role, mode in product(roles, modes)]


def hba_short(server: str) -> list[Case]:
    """Return every mode with selected lines of pg_hba.conf."""
    roles = ("scram_any", "scram_ssl", "scram_nossl", "md5_any", "password_any", "reject_any", "sslreject_trust")
    roles += ("nosslreject_scram", "sslscram_trust")
    return [Case(tcp(server, user=role, **_mode(mode)), (server,)) for role, mode in product(roles, MODES)]


def credentials(server: str) -> list[Case]:
    """Return cases with wrong or missing passwords, roles and databases, after which a second attempt may follow."""
    roles = ("scram_any", "scram_ssl", "md5_any", "md5_nossl", "password_any", "sslscram_md5", "sslscram_trust")
    found = [
        tcp(server, user=role, password=password, sslmode=mode)
        for role, password, mode in product(roles, ("wrong", "", None), ("allow", "prefer", "require"))
    ]
    places = [("nobody", "postgres"), ("scram_any", "nodb"), ("nobody", "nodb"), ("passwordless", "postgres")]
    places += [(f"{role}_any", "postgres") for role in ("expired", "nologin", "crowded", "slow")]
    places += [(role, database) for role in ("scram_ssl", "trust_any") for database in ("d_closed", "d_private")]
    found += [
        tcp(server, user=user, dbname=database, sslmode=mode)
        for (user, database), mode in product(places, ("disable", "allow", "prefer", "require"))
    ]
    return [Case(parameters, (server,)) for parameters in found]


def binding(server: str) -> list[Case]:
    """Return every value of channel_binding with every authentication request."""
    roles = ("scram_any", "scram_ssl", "md5_any", "password_any", "trust_any", "sslscram_trust", "nosslreject_scram")
    modes = ("disable", "allow", "prefer", "require")
    return [
        Case(tcp(server, user=role, sslmode=mode, channel_binding=value), (server,))
        for role, mode, value in product(roles, modes, ("disable", "prefer", "require"))
    ]


def methods(server: str) -> list[Case]:
    """Return values of require_auth with every authentication request."""
    values = ("none", "password", "md5", "scram-sha-256", "scram-sha-256,md5", "md5,password,none", "gss", "oauth")
    values += ("!none", "!password", "!md5", "!scram-sha-256", "!gss,!sspi")
    roles = ("scram_any", "md5_any", "password_any", "trust_any")
    found = [
        tcp(
            server,
            user=role,
            sslmode="disable" if role.startswith("password") or index % 3 == 0 else "require",
            require_auth=value,
        )
        for index, (role, value) in enumerate(product(roles, values))
    ]
    fallbacks = product(("sslscram_trust", "sslscram_md5", "reject_ssl"), ("prefer", "allow"), values[:5])
    found += [tcp(server, user=role, sslmode=mode, require_auth=value) for role, mode, value in fallbacks]
    found += [
        tcp(server, user=role, sslmode="require", require_auth=value, channel_binding="require")
        for role, value in product(roles, ("scram-sha-256", "md5", "none", "!none"))
    ]
    return [Case(parameters, (server,)) for parameters in found]


def roots(server: str) -> list[Case]:
    """Return every mode with every kind of root file, named or in the default place."""
    files = [("{root}", "home_empty"), ("{wrong_root}", "home_empty"), ("{no_root}", "home_empty")]
    files += [("{missing}", "home_empty"), ("{folder}", "home_empty")]
    files += [(None, "home_empty"), (None, "home_root"), (None, "home_wrong_root"), ("{root}", "home_wrong_root")]
    files += [("system", "home_empty")]
    return [
        Case(tcp(server, user="scram_any", sslmode=mode, sslrootcert=file), (server,), home)
        for mode, (file, home) in product(MODES, files)
    ]


def direct(server: str) -> list[Case]:
    """Return direct TLS in every mode."""
    roles = ("scram_any", "trust_any", "reject_any", "scram_nossl")
    found = [tcp(server, user=role, sslnegotiation="direct", **_mode(mode)) for role, mode in product(roles, MODES)]
    roots = product(("require", "verify-ca", "verify-full"), ("{wrong_root}", "{missing}"))
    found += [
        tcp(server, user="scram_any", sslnegotiation="direct", sslmode=mode, sslrootcert=root) for mode, root in roots
    ]
    found += [
        tcp(server, user="scram_any", sslnegotiation="direct", sslmode="require", channel_binding=value)
        for value in ("disable", "require")
    ]
    return [Case(parameters, (server,)) for parameters in found]


def sockets(server: str) -> list[Case]:
    """Return cases for the Unix socket, which has no TLS in any mode."""
    local = {"host": f"{{{server}_socket}}", "hostaddr": None}
    roles = ("scram_local", "trust_local", "password_local", "peer_local", "reject_local", "trust_any")
    found = [tcp(server, user=role, **_mode(mode), **local) for role, mode in product(roles, MODES)]
    found += [
        tcp(server, user=role, sslmode="prefer", channel_binding=value, **local)
        for role, value in product(("scram_local", "trust_local"), ("disable", "prefer", "require"))
    ]
    found += [
        tcp(server, user="scram_local", sslmode="prefer", password=password, **local) for password in ("wrong", None)
    ]
    found += [
        tcp(server, user="scram_local", sslmode="require", sslnegotiation="direct", **local),
        tcp(server, user="scram_local", sslmode="require", sslcert="{missing}", **local),
        tcp(server, user="scram_local", sslmode="require", sslcertmode="require", **local),
        tcp(server, user="scram_local", sslmode="prefer", require_auth="md5", **local),
    ]
    return [Case(parameters, (server,)) for parameters in found]


def client_certificates(server: str) -> list[Case]:
    """Return client certificates of every kind, for databases that require one and others."""
    kinds: dict[str, tuple[dict[str, str], str]] = {
        "good": ({"sslcert": "{good_cert}", "sslkey": "{good_key}"}, "home_empty"),
        "default": ({}, "home_good_cert"),
        "none": ({}, "home_empty"),
        "untrusted": ({"sslcert": "{untrusted_cert}", "sslkey": "{untrusted_key}"}, "home_empty"),
        "expired": ({"sslcert": "{expired_cert}", "sslkey": "{expired_key}"}, "home_empty"),
    }
    places = [("certified", "d_cert"), ("uncertified", "d_cert"), ("certified", "d_full"), ("uncertified", "d_full")]
    places += [("uncertified", "d_ca"), ("certified", "d_trustfull"), ("certified", "d_scram")]
    found = [
        (tcp(server, user=user, dbname=database, sslmode=("prefer", "require")[index % 2], **files), home)
        for index, ((files, home), (user, database)) in enumerate(product(kinds.values(), places))
    ]
    found += [
        (tcp(server, user="certified", dbname=database, sslmode="require", sslcertmode=mode, **files), home)
        for (files, home), database, mode in product(kinds.values(), ("d_cert", "d_scram"), ("disable", "require"))
    ]
    broken = [("{good_cert}", "{missing}"), ("{good_cert}", "{open_key}"), ("{good_cert}", "{expired_key}")]
    broken += [("{good_cert}", "{no_key}"), ("{good_cert}", None), ("{missing}", "{good_key}")]
    broken += [("{no_cert}", "{good_key}"), ("{missing}", "{missing}"), ("{folder}", "{good_key}")]
    found += [
        (tcp(server, user="certified", dbname="d_scram", sslmode=mode, sslcert=cert, sslkey=key), "home_empty")
        for mode, (cert, key) in product(("allow", "prefer", "require"), broken)
    ]
    old = {"ssl_max_protocol_version": "TLSv1.2"}  # where a server's verdict comes within the handshake
    found += [
        (tcp(server, user="certified", dbname=database, sslmode=mode, **files, **old), home)
        for (files, home), database, mode in product(kinds.values(), ("d_cert", "d_scram"), ("prefer", "require"))
    ]
    return [Case(parameters, (server,), home) for parameters, home in found]


def nonsense(server: str) -> list[Case]:
    """Return invalid values and combinations."""
    values: list[dict[str, str | None]] = [
        {keyword: "bogus"}
        for keyword in (
            "sslmode", "sslnegotiation", "channel_binding", "sslcertmode", "ssl_min_protocol_version",
            "ssl_max_protocol_version", "require_auth", "port", "connect_timeout", "keepalives",
            "target_session_attrs", "load_balance_hosts", "gssencmode", "nosuchkeyword", "hostaddr",
        )
    ]  # fmt: skip
    values += [
        {"ssl_min_protocol_version": "TLSv1.3", "ssl_max_protocol_version": "TLSv1.2"},
        {"require_auth": "md5,!password"},
        {"require_auth": "!md5,password"},
        {"require_auth": "md5,md5"},
        {"require_auth": "md5,,password"},
        {"require_auth": "MD5"},
        {"port": "0"},
        {"port": "65536"},
        {"port": "-1"},
        {"port": " {" + server + "} "},
        {"port": "1,2,3"},
        {"connect_timeout": "1x"},
        {"connect_timeout": " 10 "},
        {"hostaddr": "127.0.0.1,127.0.0.1"},
        {"hostaddr": "localhost"},
        {"sslmode": "PREFER"},
        {"sslmode": "require", "sslrootcert": "system"},
        {"sslmode": "prefer", "sslnegotiation": "direct"},
        {"sslmode": "require", "sslcertmode": "require", "sslcert": "{missing}"},
        {"user": ""},
        {"dbname": ""},
        {"application_name": "it's \\ here"},
        {"options": "-c search_path=nowhere"},
        {"options": "-c nosuchsetting=1"},
        {"options": "-c log_connections=off"},
    ]
    return [Case(tcp(server, **{"user": "scram_any", "sslmode": "prefer", **extra}), (server,)) for extra in values]


def versions(server: str, setup: str) -> list[Case]:
    """Return the limits of TLS versions in the client."""
    limits = [("TLSv1.2", "TLSv1.2"), ("TLSv1.3", "TLSv1.3"), ("TLSv1.2", None), ("TLSv1.3", None)]
    limits += [(None, "TLSv1.2"), (None, "TLSv1.3"), ("tlsv1.2", ""), ("TLSv1", None), ("TLSv1.1", "TLSv1.1")]
    return [
        Case(
            tcp(server, user=user, sslmode=mode, ssl_min_protocol_version=low, ssl_max_protocol_version=high),
            (server,),
            setup=f"server: {setup}",
        )
        for user, mode, (low, high) in product(("scram_any",), ("prefer", "require"), limits)
    ]


def protocols(server: str) -> list[Case]:
    """Return the limits of protocol versions in the client; the server is older than version 3.2."""
    limits = [(None, "3.0"), (None, "3.2"), (None, "latest"), ("3.0", None), ("3.0", "latest")]
    limits += [("3.2", None), ("3.2", "3.2"), ("latest", "latest"), ("3.2", "3.0"), ("", None), ("3.1", None)]
    return [
        Case(
            tcp(server, user=user, sslmode=mode, min_protocol_version=low, max_protocol_version=high),
            (server,),
        )
        for user, mode, (low, high) in product(("scram_any", "reject_ssl"), ("prefer", "allow", "require"), limits)
    ]


TLS = {
    "hba": hba("tls"),
    "credentials": credentials("tls"),
    "binding": binding("tls"),
    "methods": methods("tls"),
    "roots": roots("tls"),
    "direct": direct("tls"),
    "sockets": sockets("tls"),
    "client certificates": client_certificates("tls"),
    "nonsense": nonsense("tls"),
    "protocols": protocols("tls"),
}
PLAIN = {
    "hba": hba_short("plain"),
    "binding": binding("plain")[::2],
    "roots": roots("plain")[::3],
    "direct": direct("plain"),
}
POSTGRES15 = {
    "hba": hba_short("tls15"),
    "credentials": credentials("tls15")[::3],
    "direct": direct("tls15"),
    "client certificates": client_certificates("tls15")[::2],
}
#: The lower and upper limit of TLS versions in the server.
VERSIONS = {"TLSv1.2 to TLSv1.3": ("TLSv1.2", ""), "TLSv1.2": ("TLSv1.2", "TLSv1.2"), "TLSv1.3": ("TLSv1.3", "")}
