"""Cipher suites that a configuration names, sorted by the versions of TLS that they are of, and named groups.

TLS 1.3 has suites of its own (RFC 8446 §B.4), which older versions do not know and the other way round. To name none of
a version is to do without that version.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError
from ..modes import TlsVersion
from .groups import canonical_group, is_tls12_only
from .hello import client_offer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .contract import TlsParameters

__all__ = ["TLS13_SUITES", "Choice", "check_group", "choice", "only_group", "unknown_cipher", "unknown_group"]

TLS13_SUITES = (
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
)

_IANA = re.compile(r"TLS_(?P<exchange>[A-Z_]+)_WITH_(?P<cipher>[A-Z0-9_]+)", re.IGNORECASE)


class Choice(NamedTuple):
    """What remains to be offered.

    Attributes:
        min_version: The oldest version of TLS.
        max_version: The newest, `None` for the engine's newest.
        tls12: Suites of TLS 1.2 by OpenSSL's names, empty for the engine's own choice.
        tls13: Suites of TLS 1.3, empty for the engine's own choice.
    """

    min_version: TlsVersion
    max_version: TlsVersion | None
    tls12: tuple[str, ...]
    tls13: tuple[str, ...]


def choice(parameters: TlsParameters) -> Choice:
    """Which suites and versions `parameters` leave.

    Raises:
        ConfigError: None.
    """
    tls13 = tuple(name.upper() for name in parameters.ciphers if name.upper() in TLS13_SUITES)
    tls12 = tuple(openssl_name(name) for name in parameters.ciphers if name.upper() not in TLS13_SUITES)
    oldest, newest = parameters.min_version, parameters.max_version
    if parameters.ciphers and not tls13:
        newest = TlsVersion.TLSV1_2
    if parameters.ciphers and not tls12:
        oldest = TlsVersion.TLSV1_3
    if parameters.groups and oldest is TlsVersion.TLSV1_2 and all(map(is_tls12_only, parameters.groups)):
        newest = TlsVersion.TLSV1_2
    if oldest is TlsVersion.TLSV1_3 and newest is TlsVersion.TLSV1_2:
        raise ConfigError(
            "tls_ciphers names no cipher suite of a TLS version that is allowed",
            remedy="TLS 1.3 has suites of its own (TLS_AES_256_GCM_SHA384, …): name some, or change tls_min_version "
            "or tls_max_version.",
        )
    return Choice(oldest, newest, tls12, tls13)


def openssl_name(name: str) -> str:
    """A suite of TLS 1.2 in OpenSSL's spelling: ``ECDHE-RSA-AES128-GCM-SHA256`` for IANA's
    ``TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256``. Right for the suites of servers with certificates; any other name is
    passed on as it is.
    """  # noqa: D205 - one sentence
    found = _IANA.fullmatch(name)
    if found is None:
        return name
    exchange, cipher = found["exchange"].upper().replace("_", "-"), found["cipher"].upper()
    cipher = cipher.replace("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305").replace("CCM_8", "CCM8")
    cipher = re.sub(r"^(AES|ARIA|CAMELLIA)_(\d+)_(?:CBC_)?", r"\1\2-", cipher).replace("_", "-")
    return cipher if exchange == "RSA" else f"{exchange}-{cipher}"


def only_group(parameters: TlsParameters, engine: str) -> str | None:
    """The one group that is asked for, by IANA's name; `None` where none is.

    Raises:
        ConfigError: There are several, and `engine` can be told of one alone.
    """
    if not parameters.groups:
        return None
    if len(parameters.groups) > 1:
        raise ConfigError(
            f"{engine} can be restricted to one key-exchange group, not to a list ({', '.join(parameters.groups)})",
            remedy="Name one in tls_groups, or leave it empty for the engine's own choice.",
        )
    return canonical_group(parameters.groups[0]) or parameters.groups[0]


def check_group(parameters: TlsParameters, flight: bytes | None, engine: str) -> None:
    """Check that a context which was restricted to one group offers exactly that one.

    TLS libraries accept names of groups that they do not offer then, or not in the versions that are allowed.

    Args:
        parameters: What the context was made from.
        flight: The ClientHello of a connection that was made with it; `None` if there was none.
        engine: The backend, for the message.

    Raises:
        ConfigError: It offers something else.
    """
    group = only_group(parameters, engine)
    try:
        offered = client_offer(flight or b"").groups
    except ValueError:
        offered = ()
    if group is not None and offered != (group,):
        raise unknown_group(parameters.groups[0], engine)


def unknown_group(name: str, engine: str) -> ConfigError:
    """The error for a group that an engine does not have, or cannot be told to use."""
    return ConfigError(
        f"{engine} cannot be restricted to the key-exchange group {name!r}",
        remedy="`babar-tls backends` shows the groups that each backend offers. Some cannot be selected, and some only "
        "with TLS 1.2 or with TLS 1.3.",
    )


def unknown_cipher(parameters: TlsParameters, missing: Iterable[str], engine: str) -> ConfigError:
    """The error for suites, by OpenSSL's names, that an engine does not have; it shows the names that were given."""
    given = [name for name in parameters.ciphers if openssl_name(name) in set(missing)]
    return ConfigError(
        f"{engine} does not have the cipher suite {', '.join(given)}",
        remedy="tls_ciphers names single suites: TLS_AES_256_GCM_SHA384, ECDHE-ECDSA-AES256-GCM-SHA384, …",
    )
