"""Where a connection's parameters come from: the string, then a service, then the environment.

`resolve` finds the value that counts for each keyword and remembers who said so; what it means is `conninfo`'s affair.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError
from .keywords import KEYWORDS, STANDALONE, rivals
from .service import find_service
from .syntax import names_secret, split
from .values import Setting, boolean, refuse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .keywords import Keyword

__all__ = ["Setting", "is_standalone", "resolve"]


@clears_locals
def resolve(conninfo: str, *, allow_files: bool = True, environ: Mapping[str, str] | None = None) -> dict[str, Setting]:
    """Every keyword that has a value, from the first place that gives it one; an empty value is one.

    As in libpq, a service stands in for what the string leaves open, and the environment for what both do. What one of
    our own keywords says is not open to libpq's word for it, nor the other way about. A string that is ``standalone``
    is all there is.

    Args:
        conninfo: A URI or a keyword string.
        allow_files: `False` for a string from somebody you do not trust. It may then name no file and no service; and
            because it chooses the server, nothing is added to it that this server should not be given: no password,
            no key, no file. What remains of the environment is where to connect and how strictly.
        environ: The environment, by default that of the process.

    Raises:
        ConfigError: The string is malformed, has an unknown keyword or one that it may not have, or there is no such
            service.
    """
    environ = os.environ if environ is None else environ
    settings = {keyword: Setting(keyword, value) for keyword, value in split(conninfo, KEYWORDS).items()}
    if not allow_files:
        for setting in settings.values():
            _check_names_no_file(setting)
    if is_standalone(settings):
        return settings
    if allow_files:
        _add_service(settings, environ)
    nearer = frozenset(settings)
    for keyword in KEYWORDS.values():
        value = environ.get(keyword.envvar) if keyword.envvar else None
        if value is None or _is_said(keyword.name, nearer) or not (allow_files or _is_for_anybody(keyword, value)):
            continue
        _add(settings, keyword.name, value, f"environment variable {keyword.envvar}")
    if not _is_said("sslmode", settings.keys()) and environ.get("PGREQUIRESSL", "").startswith("1"):
        _add(settings, "sslmode", "require", "environment variable PGREQUIRESSL")
    return settings


def is_standalone(settings: Mapping[str, Setting]) -> bool:
    """Does the string say that it is complete?

    Raises:
        ConfigError: It says neither yes nor no.
    """
    setting = settings.get(STANDALONE)
    return setting is not None and bool(setting.value) and boolean(setting)


def _add(settings: dict[str, Setting], keyword: str, value: str, source: str) -> None:
    settings[keyword] = Setting(keyword, value, source)


def _is_said(keyword: str, nearer: Collection[str]) -> bool:
    """Does a nearer source say this, or what takes its place, already?"""
    return keyword in nearer or not rivals(keyword).isdisjoint(nearer)


def _add_service(settings: dict[str, Setting], environ: Mapping[str, str]) -> None:
    for name in ("service", "servicefile"):
        envvar = KEYWORDS[name].envvar or ""
        if name not in settings and envvar in environ:
            _add(settings, name, environ[envvar], f"environment variable {envvar}")
    if "service" not in settings:
        return
    service = settings["service"].value
    file = settings["servicefile"].value if "servicefile" in settings else None
    if names_secret(service):
        raise refuse(settings["service"], "definition of service not found")
    path, values = find_service(service, file, environ)
    nearer = frozenset(settings)
    for keyword, value in values.items():
        if not _is_said(keyword, nearer):
            _add(settings, keyword, value, f'service file "{path}", service "{service}"')


def _check_names_no_file(setting: Setting) -> None:
    if setting.value and _names_file(KEYWORDS[setting.keyword], setting.value):
        raise ConfigError(
            f'connection option "{setting.keyword}" names a file, which this string may not do',
            remedy=f"Remove {setting.keyword} from the string and pass the file as an argument, or trust the string: "
            "allow_files=True.",
        )


def _is_for_anybody(keyword: Keyword, value: str) -> bool:
    return not keyword.secret and not _names_file(keyword, value)


def _names_file(keyword: Keyword, value: str) -> bool:
    return keyword.names_file and not (keyword.name == "sslrootcert" and value == "system")
