"""The TLS options of a connection string: sslmode and the names of files, which have a meaning only together.

https://www.postgresql.org/docs/current/libpq-ssl.html
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..config.enums import ClientCertMode, TlsMode, TlsNegotiation, TlsVerify
from .paths import default_file, exists
from .setting import Field, refuse
from .values import word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .setting import Setting

SSL_MODES = {
    "disable": (TlsMode.DISABLE, TlsVerify.NONE),
    "allow": (TlsMode.ALLOW, TlsVerify.NONE),
    "prefer": (TlsMode.PREFER, TlsVerify.NONE),
    "require": (TlsMode.REQUIRE, TlsVerify.NONE),
    "verify-ca": (TlsMode.REQUIRE, TlsVerify.CA),
    "verify-full": (TlsMode.REQUIRE, TlsVerify.FULL),
}


def read_tls_options(settings: Mapping[str, Setting], environ: Mapping[str, str] | None) -> dict[str, Field]:
    """Return the fields that sslmode, sslrootcert, sslcrl, sslcrldir, sslcert and sslkey decide.

    Args:
        settings: The settings of the connection string.
        environ: The environment, for the home directory with the default files; None to use no default files.

    Raises:
        ConfigError: The mode is unknown, too weak for another setting, or has no file to verify with.
    """
    sslmode = settings.get("sslmode")
    if sslmode and sslmode.value == TlsMode.DISABLE.value and "tls_mode" in settings and settings["tls_mode"].value:
        sslmode = None  # tls_mode takes precedence, and sslmode=disable does not say how to verify
    fields = _read_verification(sslmode, settings, environ)
    for keyword, name in (("sslcrl", "tls_crl_path"), ("sslcrldir", "tls_crl_dir")):
        if keyword in settings and settings[keyword].value:
            fields[name] = Field.by(settings[keyword], settings[keyword].value)
    if "tls_root_cert_path" in fields and not fields.keys() & {"tls_crl_path", "tls_crl_dir"}:
        default = _default_file("sslcrl", "root.crl", environ)
        if default is not None:
            fields["tls_crl_path"] = default
    if "tls_mode" not in fields or fields["tls_mode"].value is not TlsMode.DISABLE:
        fields.update(_read_client_certificate(settings, environ))
    return fields


def _default_file(
    keyword: str, name: str, environ: Mapping[str, str] | None, *, may_be_missing: bool = False
) -> Field | None:
    """Return a file of the directory ``~/.postgresql``; None if it does not exist, or if default files are not used."""
    path = default_file(f".postgresql/{name}", name, environ) if environ is not None else None
    if path is None or not (may_be_missing or exists(path)):
        return None
    return Field(str(path), keyword, f'default file "{path}"')


def _read_verification(
    sslmode: Setting | None, settings: Mapping[str, Setting], environ: Mapping[str, str] | None
) -> dict[str, Field]:
    """Return the TLS mode and what is verified, from sslmode and sslrootcert."""
    sslrootcert = settings.get("sslrootcert")
    mode, verify = SSL_MODES[word(sslmode, SSL_MODES)] if sslmode else (TlsMode.REQUIRE, TlsVerify.FULL)
    if sslmode and mode is not TlsMode.REQUIRE:
        _check_direct(sslmode, settings.get("sslnegotiation"))
    if sslrootcert and sslrootcert.value == "system":
        return _read_system_roots(sslmode, sslrootcert)
    fields = {}
    if sslmode:
        fields["tls_mode"] = Field.by(sslmode, mode)
        if mode is TlsMode.DISABLE:
            return fields
        fields["tls_fallback"] = Field.by(sslmode, mode is TlsMode.PREFER)
        fields["tls_verify"] = Field.by(sslmode, verify)
        if verify is TlsVerify.FULL:
            fields["tls_common_name"] = Field.by(sslmode, True)
    if sslrootcert and sslrootcert.value:
        root: Field | None = Field.by(sslrootcert, sslrootcert.value)
    else:
        # verify-ca and verify-full require a file. Otherwise the default file is used if it exists.
        needed = sslmode is not None and verify is not TlsVerify.NONE
        root = _default_file("sslrootcert", "root.crt", environ, may_be_missing=needed)
        if root is None and needed and sslmode:
            raise refuse(
                sslmode,
                f'sslmode "{sslmode.value}" needs a root certificate file, and there is no default file',
                "Set sslrootcert to the file of CA certificates, or use sslmode=verify-full sslrootcert=system.",
            )
    if root is not None:
        fields["tls_root_cert_path"] = root
        fields["tls_default_roots"] = Field.by(root, False)
        if verify is TlsVerify.NONE:  # as in libpq, a root file makes the weaker modes verify the chain
            fields["tls_verify"] = Field.by(root, TlsVerify.CA)
    return fields


def _check_direct(sslmode: Setting, negotiation: Setting | None) -> None:
    if negotiation and negotiation.value == TlsNegotiation.DIRECT.value:
        raise refuse(
            sslmode,
            f'weak sslmode "{sslmode.value}" may not be used with sslnegotiation=direct '
            '(use "require", "verify-ca", or "verify-full")',
            "Use sslmode=verify-full, or leave out sslnegotiation.",
        )


def _read_system_roots(sslmode: Setting | None, sslrootcert: Setting) -> dict[str, Field]:
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


def _read_client_certificate(settings: Mapping[str, Setting], environ: Mapping[str, str] | None) -> dict[str, Field]:
    """Return the client certificate and its key.

    Raises:
        ConfigError: The key is in a token.
    """
    sslcertmode, sslcert, sslkey = (settings.get(keyword) for keyword in ("sslcertmode", "sslcert", "sslkey"))
    if sslcertmode and sslcertmode.value == ClientCertMode.DISABLE.value:
        return {}
    if sslcert and sslcert.value:
        certificate: Field | None = Field.by(sslcert, sslcert.value)
    else:
        certificate = _default_file("sslcert", "postgresql.crt", environ)
    if certificate is None:
        return {}
    fields = {"tls_client_cert": certificate}
    if sslkey and sslkey.value:
        _check_key(sslkey)
        fields["tls_client_key"] = Field.by(sslkey, sslkey.value)
    elif not certificate.value.lower().endswith((".p12", ".pfx")):
        # If the file is missing, the backend reports it, as libpq does.
        key = _default_file("sslkey", "postgresql.key", environ, may_be_missing=True)
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
