"""The sources of a connection's parameters: the connection string, a service file, the environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError
from .keywords import KEYWORDS
from .service import find_service
from .setting import Setting, refuse
from .syntax import names_secret, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .keywords import Keyword


@clears_locals
def resolve(conninfo: str, *, allow_files: bool = True, environ: Mapping[str, str] | None = None) -> dict[str, Setting]:
    """Return the value of each keyword from its nearest source, including empty values.

    As in libpq, a service adds the keywords that the string does not contain, and the environment adds those that
    neither contains. If a keyword of libpq and the keyword of this library that refines it have different sources, only
    the nearer source is used.

    Args:
        conninfo: A URI or a keyword string.
        allow_files: False for a string from an untrusted source. It may not name a file or a service. No password, key
            or file of the user is added to it, because the string selects the server that would receive them.
        environ: The environment, by default that of the process.

    Raises:
        ConfigError: The string is malformed, has a keyword that is unknown or not allowed, or names a service that does
            not exist.
    """
    environ = os.environ if environ is None else environ
    settings = {keyword: Setting(keyword, value) for keyword, value in parse(conninfo).items()}
    if allow_files:
        _add_service(settings, environ)
    else:
        for setting in settings.values():
            if setting.value and _names_file(KEYWORDS[setting.keyword], setting.value):
                raise ConfigError(
                    f'connection option "{setting.keyword}" names a file, which allow_files=False does not allow',
                    remedy=f"Remove {setting.keyword} from the string and pass the file as an argument, or trust the "
                    "string: allow_files=True.",
                )
    variables = {
        keyword.name: Setting(keyword.name, environ[keyword.envvar], f"environment variable {keyword.envvar}")
        for keyword in KEYWORDS.values()
        if keyword.envvar is not None
        and keyword.envvar in environ
        and (allow_files or not (keyword.secret or _names_file(keyword, environ[keyword.envvar])))
    }
    if environ.get("PGREQUIRESSL", "").startswith("1"):
        variables.setdefault("sslmode", Setting("sslmode", "require", "environment variable PGREQUIRESSL"))
    _add(settings, variables)
    return settings


def _add(settings: dict[str, Setting], more: Mapping[str, Setting]) -> None:
    """Add the settings of a farther source, except for those that a nearer source has set.

    The keyword of libpq does not count if a nearer source has a keyword that replaces it, nor a keyword of this library
    if a nearer source has the one that it refines. Two keywords of this library do not affect each other.
    """
    nearer = frozenset(settings)
    decided = nearer | {KEYWORDS[name].refines for name in nearer if KEYWORDS[name].replaces}
    settings.update(
        {
            name: setting
            for name, setting in more.items()
            if name not in decided and KEYWORDS[name].refines not in nearer
        }
    )


def _add_service(settings: dict[str, Setting], environ: Mapping[str, str]) -> None:
    for name in ("service", "servicefile"):
        envvar = KEYWORDS[name].envvar or ""
        if name not in settings and envvar in environ:
            settings[name] = Setting(name, environ[envvar], f"environment variable {envvar}")
    if "service" not in settings:
        return
    service = settings["service"].value
    if names_secret(service):
        raise refuse(settings["service"], "definition of service not found")
    path, values = find_service(service, settings["servicefile"].value if "servicefile" in settings else None, environ)
    source = f'service file "{path}", service "{service}"'
    _add(settings, {keyword: Setting(keyword, value, source) for keyword, value in values.items()})


def _names_file(keyword: Keyword, value: str) -> bool:
    return keyword.names_file and not (keyword.name == "sslrootcert" and value == "system")
