"""Changes of a connection string that remove its weaknesses.

In libpq, a later parameter of a string replaces an earlier one with the same name, and the string overrides a service
file and environment variables. So a change appends parameters to the string, or removes parameters from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote as percent_encode
from urllib.parse import unquote

from ..config import Config
from ..config.enums import TlsMode, TlsVersion
from ..conninfo import parse, resolve
from ..conninfo.syntax import is_keyword, quote
from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError
from .weaknesses import Remedy, Weakness, find_weaknesses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..conninfo import Setting

_TryValues: TypeAlias = Callable[[Mapping[str, str]], Config | None]

_MISPLACED = re.compile(r"&([A-Za-z_]+)=")
_URI = re.compile(r"postgres(?:ql)?(?:\+\w+)?://(?:[^@/]*@)?|jdbc:")
#: Keywords that libpq does not have. If one of them is set, sslmode has no effect or only a part of its effect.
_OWN_TLS_KEYWORDS = {"tls_mode", "tls_verify", "tls_fallback", "tls_root_cert_path", "tls_default_roots"}


@dataclass(frozen=True)
class Change:
    """Parameters that remove one weakness.

    Attributes:
        weakness: The weakness.
        add: Keywords and values to add to the string, or to change in it; empty if no change is accepted.
        remove: Keywords to remove from the string.
        overrides: The service file or environment variables whose values `add` replaces.
    """

    weakness: Weakness
    add: Mapping[str, str]
    remove: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()


@clears_locals
def find_changes(
    conninfo: str, config: Config, *, allow_files: bool = True, environ: Mapping[str, str] | None = None
) -> list[Change]:
    """Return a change for each weakness of `config`, the worst first.

    Each change is accepted by `Config.from_conninfo`, by itself and together with the others.

    Args:
        conninfo: The connection string.
        config: The configuration that results from it.
        allow_files: See `Config.from_conninfo`.
        environ: See `Config.from_conninfo`.
    """
    settings = resolve(conninfo, allow_files=allow_files, environ=environ)
    own = parse(conninfo)
    try_values = partial(_changed, conninfo, allow_files, environ)
    changes: list[Change] = []
    for weakness in find_weaknesses(config):
        values = _values(weakness.remedy, config, settings, try_values)
        for parameters in (values, {**combined(changes)[0], **values}):
            changed = try_values(parameters)
            if changed is None or weakness in find_weaknesses(changed):
                values = {}
        # An empty value has the effect of a missing parameter. Removal is not enough if a service file may set it too.
        is_removable = "service" not in settings
        remove = [keyword for keyword, value in values.items() if is_removable and keyword in own and not value]
        add = {keyword: value for keyword, value in values.items() if keyword not in remove}
        elsewhere = [settings[keyword].source for keyword in add if keyword in settings and keyword not in own]
        changes.append(Change(weakness, add, tuple(remove), tuple(dict.fromkeys(elsewhere))))
    return changes


def combined(changes: Iterable[Change]) -> tuple[dict[str, str], list[str]]:
    """Return the parameters to add and those to remove, of all `changes` together."""
    changes = list(changes)
    add = {keyword: value for change in changes for keyword, value in change.add.items()}
    return add, [keyword for change in changes for keyword in change.remove]


def written_like(conninfo: str, parameters: Mapping[str, str]) -> str:
    """Return `parameters` in the syntax of `conninfo`: URI query parameters, or keywords and quoted values."""
    if _URI.match(conninfo):
        return "&".join(f"{keyword}={percent_encode(value, safe='')}" for keyword, value in parameters.items())
    return " ".join(f"{keyword}={quote(value)}" for keyword, value in parameters.items())


def separator(conninfo: str, removed: Iterable[str] = ()) -> str:
    """Return the text between a connection string and parameters that are appended to it.

    Args:
        conninfo: The connection string.
        removed: Parameters that are removed from the string. If its query becomes empty, so does its "?".
    """
    authority = _URI.match(conninfo)
    if authority is None:
        return " " if conninfo else ""
    _, mark, query = conninfo[authority.end() :].partition("?")
    names = {unquote(item.partition("=")[0]) for item in query.split("&") if item}
    if not mark or (names and names <= set(removed)):
        return "?"
    return "" if conninfo.endswith(("?", "&")) else "&"


def find_misplaced(conninfo: str, config: Config) -> list[Change]:
    """Return a warning if the database name of a URI contains a parameter, as after the removal of a "?"."""
    found = _MISPLACED.search(config.database or "") if _URI.match(conninfo) else None
    if found is None or not (is_keyword(found[1]) or found[1].startswith("ssl")):
        return []
    text = f'The database name contains "&{found[1]}=", which has no effect there: parameters begin after a "?".'
    return [Change(Weakness(text, None), {})]


def _values(
    remedy: Remedy | None, config: Config, settings: Mapping[str, Setting], try_values: _TryValues
) -> dict[str, str]:
    if remedy is Remedy.VERIFY:
        return _verification(config, settings, try_values)
    if remedy is Remedy.REQUIRE_SCRAM:
        return {"require_auth": "scram-sha-256"}
    if remedy is Remedy.BIND:
        return _binding(config, settings, try_values)
    if remedy is Remedy.NO_KEY_LOG:
        return {keyword: "" for keyword in ("sslkeylogfile", "tls_key_log_path") if keyword in settings}
    return {}


def _verification(config: Config, settings: Mapping[str, Setting], try_values: _TryValues) -> dict[str, str]:
    if settings.keys() & _OWN_TLS_KEYWORDS:
        values = {"tls_mode": "require", "tls_verify": "full"}
        if "tls_fallback" in settings:
            values["tls_fallback"] = "0"
        if not config.tls_default_roots and config.tls_root_cert_path is None:
            values["tls_default_roots"] = "1"
        return values
    # sslmode=require uses the root file that is named, or else the default file if it exists.
    verified = try_values({"sslmode": "require"})
    has_roots = verified is not None and verified.tls_root_cert_path is not None
    return {"sslmode": "verify-full"} if has_roots else {"sslmode": "verify-full", "sslrootcert": "system"}


def _binding(config: Config, settings: Mapping[str, Setting], try_values: _TryValues) -> dict[str, str]:
    is_refused = config.tls_mode is TlsMode.DISABLE  # channel_binding=require with sslmode=disable
    values = _verification(config, settings, try_values) if is_refused else {}
    values["channel_binding"] = "require"
    # An empty scram_channel_binding disables binding, and tls-unique is not defined for TLS 1.3.
    impossible = {"", "tls-unique"} if config.tls_min_version is TlsVersion.TLSV1_3 else {""}
    for keyword in ("scram_channel_binding", "channel_binding_type"):
        if keyword in settings and settings[keyword].value in impossible:
            values[keyword] = "tls-server-end-point"
    return values


def _changed(
    conninfo: str, allow_files: bool, environ: Mapping[str, str] | None, values: Mapping[str, str]
) -> Config | None:
    """Return the `Config` of the string with these values at its end, None if it is refused."""
    changed = f"{conninfo}{separator(conninfo)}{written_like(conninfo, values)}"
    try:
        # If a keyword string ends in "=" or a backslash, the added text becomes a part of its last value.
        if parse(changed) != {**parse(conninfo), **values}:
            return None
        return Config.from_conninfo(changed, allow_files=allow_files, environ=environ)
    except ConfigError:
        return None
