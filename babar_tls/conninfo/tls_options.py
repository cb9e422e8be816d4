"""What a connection string says of TLS: sslmode and the files, which mean something only together.

https://www.postgresql.org/docs/current/libpq-ssl.html
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any

from ..config.enums import ClientCertMode, TlsMode, TlsNegotiation, TlsVerify
from .paths import default_file, exists
from .values import Setting, member, refuse, word

if TYPE_CHECKING:
    from collections.abc import Mapping


#: The source of a field about which nothing says anything.
DEFAULT = "default"


@dataclass(frozen=True)
class Field:
    """What a field of `Config` gets from a connection string, and why.

    Attributes:
        value: As it is handed to `Config`; it may be a secret.
        keyword: The keyword that decides it, `None` where none does.
        source: Who said so, in words for people: that of the keyword's `Setting`; ``default file "/…"`` for one
            that is used without being named; ``default``.
    """

    value: Any = dataclass_field(repr=False)
    keyword: str | None = None
    source: str = DEFAULT

    @classmethod
    def by(cls, setting: Setting, value: Any) -> Field:
        """A value that follows from a setting."""
        return cls(value, setting.keyword, setting.source)


SSL_MODES = {
    "disable": (TlsMode.DISABLE, TlsVerify.NONE),
    "allow": (TlsMode.ALLOW, TlsVerify.NONE),
    "prefer": (TlsMode.PREFER, TlsVerify.NONE),
    "require": (TlsMode.REQUIRE, TlsVerify.NONE),
    "verify-ca": (TlsMode.REQUIRE, TlsVerify.CA),
    "verify-full": (TlsMode.REQUIRE, TlsVerify.FULL),
}


class Files:
    """The files that are there without being named: this user's, unless a string may not have them."""

    def __init__(self, environ: Mapping[str, str], *, allowed: bool) -> None:
        self._environ = environ
        self.allowed = allowed

    def default(self, keyword: str, name: str, *, missing: bool = False) -> Field | None:
        """The file of that name, if there is one; with `missing`, even if there is none."""
        if not self.allowed:
            return None
        path = default_file(f".postgresql/{name}", name, self._environ)
        if path is None or not (missing or exists(path)):
            return None
        return Field(str(path), keyword, f'default file "{path}"')


def trust(settings: Mapping[str, Setting], files: Files) -> dict[str, Field]:
    """The mode of TLS and what is verified, from sslmode and sslrootcert.

    Raises:
        ConfigError: The mode is unknown, too weak for what stands beside it, or has nothing to verify with.
    """
    sslmode = settings.get("sslmode")
    sslrootcert = settings.get("sslrootcert")
    root = Field.by(sslrootcert, sslrootcert.value) if sslrootcert and sslrootcert.value else None
    mode, verify = SSL_MODES[word(sslmode, SSL_MODES)] if sslmode else (TlsMode.REQUIRE, TlsVerify.FULL)
    if sslmode and mode is not TlsMode.REQUIRE:
        _check_direct(sslmode, settings.get("sslnegotiation"))
    if sslrootcert and sslrootcert.value == "system":
        return _system(sslmode, sslrootcert)
    if not sslmode:  # ours: stricter than libpq's "prefer"
        return _roots(root or files.default("sslrootcert", "root.crt"))
    fields = {"tls_mode": Field.by(sslmode, mode)}
    if mode is TlsMode.DISABLE:  # it says nothing of what to verify if there were TLS
        return fields
    fields["tls_fallback"] = Field.by(sslmode, mode is TlsMode.PREFER)
    if verify is TlsVerify.FULL:
        fields["tls_common_name"] = Field.by(sslmode, True)
    root = root or files.default("sslrootcert", "root.crt", missing=verify is not TlsVerify.NONE)
    if verify is TlsVerify.NONE:
        # As in libpq, a root file makes any mode verify the chain; a file that was named and is missing is an error.
        fields["tls_verify"] = Field.by(sslmode, verify) if root is None else _because(root, TlsVerify.CA)
        return {**fields, **_roots(root)}
    if root is None:
        raise refuse(
            sslmode,
            f'sslmode "{sslmode.value}" needs a root certificate file, and there is none to look for',
            "Set sslrootcert to the file of CA certificates, or use sslmode=verify-full sslrootcert=system.",
        )
    return {**fields, "tls_verify": Field.by(sslmode, verify), **_roots(root)}


def _because(cause: Field, value: Any) -> Field:
    return Field(value, cause.keyword, cause.source)


def _roots(root: Field | None) -> dict[str, Field]:
    if root is None:
        return {}
    return {"tls_root_cert_path": root, "tls_default_roots": _because(root, False)}


def _check_direct(sslmode: Setting, negotiation: Setting | None) -> None:
    if negotiation and negotiation.value == TlsNegotiation.DIRECT.value:
        raise refuse(
            sslmode,
            f'weak sslmode "{sslmode.value}" may not be used with sslnegotiation=direct '
            '(use "require", "verify-ca", or "verify-full")',
            "Use sslmode=verify-full, or leave out sslnegotiation.",
        )


def _system(sslmode: Setting | None, sslrootcert: Setting) -> dict[str, Field]:
    if sslmode and sslmode.value != "verify-full":
        raise refuse(
            sslmode,
            f'weak sslmode "{sslmode.value}" may not be used with sslrootcert=system (use "verify-full")',
            "Use sslmode=verify-full: public CAs issue certificates to everyone, so that the name must be verified.",
        )
    values = {
        "tls_mode": TlsMode.REQUIRE,
        "tls_verify": TlsVerify.FULL,
        "tls_default_roots": True,
        "tls_common_name": True,
    }
    return {name: Field.by(sslrootcert, value) for name, value in values.items()}


def revocation(settings: Mapping[str, Setting], files: Files, trusted: Mapping[str, Field]) -> dict[str, Field]:
    """Revocation lists: those that are named, else this user's, where the chain is verified against a root file."""
    fields = {}
    for keyword, name in (("sslcrl", "tls_crl_path"), ("sslcrldir", "tls_crl_dir")):
        setting = settings.get(keyword)
        if setting and setting.value:
            fields[name] = Field.by(setting, setting.value)
    if not fields and "tls_root_cert_path" in trusted:
        default = files.default("sslcrl", "root.crl")
        if default is not None:
            fields["tls_crl_path"] = default
    return fields


def client_certificate(settings: Mapping[str, Setting], files: Files, mode: TlsMode) -> dict[str, Field]:
    """Our certificate and its key, and whether to present them.

    Raises:
        ConfigError: sslcertmode is unknown, or the key is in a token.
    """
    fields: dict[str, Field] = {}
    sslcertmode = settings.get("sslcertmode")
    if sslcertmode:
        fields["tls_client_cert_mode"] = Field.by(sslcertmode, member(sslcertmode, ClientCertMode))
    sslcert, sslkey = settings.get("sslcert"), settings.get("sslkey")
    if mode is TlsMode.DISABLE or (sslcertmode and sslcertmode.value == ClientCertMode.DISABLE.value):
        return fields
    if sslcert and sslcert.value:
        certificate: Field | None = Field.by(sslcert, sslcert.value)
    else:
        certificate = files.default("sslcert", "postgresql.crt")
    if certificate is None:
        return fields
    fields["tls_client_cert"] = certificate
    if sslkey and sslkey.value:
        _check_key(sslkey)
        fields["tls_client_key"] = Field.by(sslkey, sslkey.value)
    elif not certificate.value.lower().endswith((".p12", ".pfx")):
        # Whether it exists is not asked: the engine says that it is missing, as libpq does.
        key = files.default("sslkey", "postgresql.key", missing=True)
        if key is not None:
            fields["tls_client_key"] = key
    return fields


def _check_key(sslkey: Setting) -> None:
    path = sslkey.value[2:] if os.name == "nt" and sslkey.value[1:2] == ":" else sslkey.value
    if ":" in path:
        raise refuse(
            sslkey,
            f'connection option "sslkey" names a key in a token ("{sslkey.value.partition(":")[0]}:…")',
            "No backend supports such keys: set sslkey to a file.",
        )
