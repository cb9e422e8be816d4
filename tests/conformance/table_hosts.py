"""Cases for several hosts, and for servers with a script."""

from __future__ import annotations

from itertools import product

from .cases import Case, tcp
from .scripted import NEGOTIATION, PROTOCOL
from .table_servers import MODES

ATTRIBUTES = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")


def hosts(*names: str, **keywords: str | None) -> Case:
    """Return a case with these servers in this order; ``closed`` is a port without a listener."""
    parameters = {
        "host": ",".join("localhost" for _ in names),
        "hostaddr": ",".join("127.0.0.1" for _ in names),
        "port": ",".join("{" + name + "}" for name in names),
    }
    servers = tuple(dict.fromkeys(name for name in names if name != "closed"))
    return Case(tcp("", **{**parameters, **keywords}), servers)


def failures() -> list[Case]:
    """Return cases in which the first host fails in every way, and the second works or fails too."""
    first = ("closed", "starting", "stopping", "full", "unwilling", "leaving", "primary")
    found = [
        hosts(name, second, user="scram_any", sslmode=mode)
        for name, second, mode in product(first, ("tls", "closed"), ("disable", "prefer", "require"))
    ]
    users = ("scram_ssl", "scram_nossl", "reject_any", "md5_any", "trust_any", "nobody")
    found += [
        hosts("plain", "tls", user=user, sslmode=mode)
        for user, mode in product(users, ("disable", "allow", "prefer", "require"))
    ]
    found += [
        hosts("tls", "plain", user=user, sslmode=mode, password=password)
        for user, mode, password in product(("scram_any", "scram_nossl"), ("prefer", "require"), ("wrong", None))
    ]
    found += [
        hosts("tls", "plain", user="trust_any", dbname="nodb", sslmode="prefer"),
        hosts("closed", "starting", "tls", user="scram_any", sslmode="require"),
        hosts("closed", "full", "starting", user="scram_any", sslmode="prefer"),
        hosts("silent", "starting", user="scram_any", sslmode="disable", connect_timeout="1"),
    ]
    return found


def verification() -> list[Case]:
    """Return cases in which the certificate of the first host is rejected, or it has no TLS."""
    found = []
    for names, root, mode in product(
        ("wrong.example.com,localhost", "localhost,wrong.example.com"),
        ("{root}", "{wrong_root}", "{missing}"),
        ("require", "verify-ca", "verify-full"),
    ):
        found.append(hosts("tls", "tls", host=names, user="scram_any", sslmode=mode, sslrootcert=root))
    found += [
        hosts("plain", "tls", user="scram_any", sslmode=mode, sslrootcert="{root}")
        for mode in ("require", "verify-full")
    ]
    found += [
        hosts("tls", "plain", user="scram_any", sslmode="require", require_auth="md5"),
        hosts("plain", "tls", user="scram_any", sslmode="prefer", channel_binding="require"),
        hosts("plain", "tls", user="scram_any", sslmode="require", sslnegotiation="direct"),
        hosts("tls", "plain", user="md5_any", sslmode="require", channel_binding="require"),
    ]
    return found


def attributes() -> list[Case]:
    """Return every value of target_session_attrs with every order of servers."""
    orders = [
        ("tls",),
        ("standby",),
        ("readonly",),
        ("standby", "tls"),
        ("tls", "standby"),
        ("closed", "standby"),
    ]
    orders += [("readonly", "standby"), ("starting", "standby"), ("oldprimary",), ("standby", "readonly", "tls")]
    orders += [("standby", "unwilling"), ("primary", "standby")]
    found = [
        hosts(*names, user="trust_any", sslmode="prefer", target_session_attrs=value)
        for names, value in product(orders, ATTRIBUTES)
    ]
    ways: list[dict[str, str]] = [
        {"user": "readonly_any"},
        {"user": "trust_any", "dbname": "d_readonly"},
        {"user": "trust_any", "options": "-c default_transaction_read_only=on"},
    ]
    found += [
        hosts("tls", "plain", sslmode="require" if "options" in way else "disable", target_session_attrs=value, **way)
        for way, value in product(ways, ATTRIBUTES)
    ]
    found += [
        hosts("tls", "tls", user="trust_any", sslmode="disable", load_balance_hosts=value)
        for value in ("disable", "random")
    ]
    return found


def negotiation() -> list[Case]:
    """Return every response to SSLRequest, in every mode."""
    found = [hosts(name, user="app", sslmode=mode) for name, mode in product(NEGOTIATION, MODES[:4])]
    found += [
        hosts(name, user="app", sslmode="require", sslnegotiation="direct")
        for name in ("no ALPN", "ALPN", "garbage", "close", "TLS, then 28000")
    ]
    for name in ("E", "close", "S and no TLS", "TLS, then 28000", "TLS, plain 28000"):
        found += [hosts(name, "primary", user="app", sslmode=mode) for mode in ("allow", "prefer", "require")]
    return found


def protocol() -> list[Case]:
    """Return every negotiation of the protocol version, with every range of versions in the client."""
    limits = (("3.0", "3.0"), ("3.0", "3.2"), ("3.2", None))
    return [
        hosts(name, user="app", sslmode=mode, min_protocol_version=low, max_protocol_version=high)
        for name, mode, (low, high) in product(PROTOCOL, ("disable", "prefer"), limits)
    ]


HOSTS = {
    "failures": failures(),
    "verification": verification(),
    "attributes": attributes(),
    "negotiation": negotiation(),
    "protocol": protocol(),
}
