"""Cases for server certificates: names, chains, revocation lists, signatures."""

from __future__ import annotations

from itertools import product

from .cases import Case, tcp
from .certificates import CHAINS, NAME, NAMES, SIGNATURES

SERVER = "certs"
_HOSTS = (
    NAME,
    "DB.Example.COM",
    "other.example.com",
    "a.b.example.com",
    "example.com",
    "127.0.0.1",
    "127.0.0.2",
    "::1",
)


def _case(shape: str, **keywords: str | None) -> Case:
    return Case(tcp(SERVER, **{"host": NAME, "user": "trust_any", **keywords}), (SERVER,), setup=shape)


def names(shape: str) -> list[Case]:
    """Return cases for every kind of name."""
    return [_case(shape, host=host, sslmode="verify-full", sslrootcert="{root}") for host in _HOSTS]


def chains(shape: str) -> list[Case]:
    """Return every mode with the root, another root, the leaf as the root, and only the intermediate."""
    files = ("{root}", "{wrong_root}", "{leaf}", "{intermediate}", "{rooted}", "{expired_root}")
    modes = ("prefer", "require", "verify-full")
    return [_case(shape, sslmode=mode, sslrootcert=file) for mode, file in product(modes, files)]


def revocation(shape: str) -> list[Case]:
    """Return cases for CRLs: empty, with the certificate, of another CA, and files that are not CRLs."""
    lists = [{"sslcrl": "{" + name + "}"} for name in ("crl", "crl_revoked", "crl_other", "no_crl", "missing")]
    lists += [{"sslcrldir": "{" + name + "}"} for name in ("crl_dir", "crl_dir_revoked", "crl_dir_empty", "missing")]
    lists += [{"sslcrl": "{crl}", "sslcrldir": "{crl_dir_revoked}"}]
    places = [("prefer", "{root}"), ("require", None), ("require", "{root}"), ("verify-full", "{root}")]
    return [_case(shape, sslmode=mode, sslrootcert=root, **extra) for extra, (mode, root) in product(lists, places)]


def signatures(shape: str) -> list[Case]:
    """Channel binding with every hash."""
    return [
        _case(
            shape,
            user="scram_any",
            sslmode=mode,
            sslrootcert="{signer}" if mode == "verify-full" else None,
            channel_binding=value,
        )
        for mode, value in product(("prefer", "require", "verify-full"), ("disable", "prefer", "require"))
    ]


def server_names(shape: str) -> list[Case]:
    """SNI sent and not sent: it must not change what is verified."""
    return [
        _case(shape, host=host, sslmode="verify-full", sslrootcert="{root}", sslsni=value)
        for host, value in product((NAME, "other.example.com", "127.0.0.1"), ("0", "1"))
    ]


CERTIFICATES = {
    **{shape: names(shape) for shape in NAMES},
    **{shape: chains(shape) for shape in CHAINS},
    **{shape: signatures(shape) for shape in SIGNATURES},
}
CERTIFICATES["good"] = [*chains("good"), *revocation("good"), *server_names("good")]
