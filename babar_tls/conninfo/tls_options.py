"""The TLS options of a connection string: sslmode and the names of files, which must be interpreted together.

https://www.postgresql.org/docs/current/libpq-ssl.html
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..config.enums import ClientCertMode, TlsMode, TlsNegotiation, TlsVerify
from ..config.token_uri import as_token_uri, is_token_uri
from ..errors import ConfigError
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
    """Return the fields that sslmode, sslrootcert, sslcrl, sslcrldir, sslcert and sslkey determine.

    Args:
        settings: The settings of the connection string.
        environ: The environment, for the home directory with the default files; None to use no default files.

    Raises:
        ConfigError: The mode is unknown, is too weak for another setting or has no root certificate file, or the key
            is that of an OpenSSL engine.
    """
    fields = _read_verification(settings, environ)
    sslcrldir, sslcertmode, sslkey = (settings.get(keyword) for keyword in ("sslcrldir", "sslcertmode", "sslkey"))
    if sslcrldir and sslcrldir.value:
        fields["tls_crl_dir"] = Field.by(sslcrldir, sslcrldir.value)
    # The default CRL file belongs to a root file.
    uses_default = "tls_root_cert_path" in fields and "tls_crl_dir" not in fields
    crl = _find_file("sslcrl", "root.crl", settings, environ if uses_default else None)
    if crl is not None:
        fields["tls_crl_path"] = crl
    disabled = "tls_mode" in fields and fields["tls_mode"].value is TlsMode.DISABLE
    if disabled or (sslcertmode and sslcertmode.value == ClientCertMode.DISABLE.value):
        return fields
    certificate = _find_file("sslcert", "postgresql.crt", settings, environ)
    if sslkey and is_token_uri(sslkey.value):  # without a certificate, Config refuses it
        fields["tls_client_key"] = _read_token_uri(sslkey)
    if certificate is None:
        return fields
    fields["tls_client_cert"] = certificate
    if "tls_client_key" in fields:
        return fields
    if sslkey and ":" in os.path.splitdrive(sslkey.value)[1]:
        raise refuse(
            sslkey,
            f'connection option "sslkey" names a key of an OpenSSL engine ("{sslkey.value.partition(":")[0]}:…")',
            "Set sslkey to a file, or to the PKCS #11 URI of a key in a token (RFC 7512).",
        )
    # A PKCS #12 file contains the key, and the key of a certificate in a token is in a token. If the default key is
    # missing, the backend reports it, as libpq does.
    contains_key = certificate.value.lower().endswith((".p12", ".pfx")) or is_token_uri(certificate.value)
    key = _find_file("sslkey", "postgresql.key", settings, None if contains_key else environ, may_be_missing=True)
    if key is not None:
        fields["tls_client_key"] = key
    return fields


def _read_token_uri(setting: Setting) -> Field:
    try:
        return Field.by(setting, as_token_uri(f'connection option "{setting.keyword}"', setting.value))
    except ConfigError as exc:
        raise refuse(setting, exc.message, exc.remedy) from None


def _find_file(
    keyword: str,
    default: str,
    settings: Mapping[str, Setting],
    environ: Mapping[str, str] | None,
    *,
    may_be_missing: bool = False,
) -> Field | None:
    """Return the file of a keyword, or the default file in ``~/.postgresql``.

    Args:
        keyword: The keyword.
        default: The name of the default file.
        settings: The settings of the connection string.
        environ: The environment, for the home directory; None to use no default file.
        may_be_missing: Return the default file even if it does not exist.
    """
    setting = settings.get(keyword)
    if setting and setting.value:
        return Field.by(setting, setting.value)
    path = default_file(f".postgresql/{default}", default, environ) if environ is not None else None
    if path is None or not (may_be_missing or exists(path)):
        return None
    return Field(str(path), keyword, f'default file "{path}"')


def _read_verification(settings: Mapping[str, Setting], environ: Mapping[str, str] | None) -> dict[str, Field]:
    """Return the fields for the TLS mode and for verification, from sslmode and sslrootcert."""
    sslmode, tls_mode, sslrootcert, sslnegotiation = (
        settings.get(keyword) for keyword in ("sslmode", "tls_mode", "sslrootcert", "sslnegotiation")
    )
    if sslmode and sslmode.value == "disable" and tls_mode and tls_mode.value:
        sslmode = None  # tls_mode takes precedence, and sslmode=disable does not define what to verify
    mode, verify = SSL_MODES[word(sslmode, SSL_MODES)] if sslmode else (TlsMode.REQUIRE, TlsVerify.FULL)
    direct = sslnegotiation and sslnegotiation.value == TlsNegotiation.DIRECT.value
    if sslmode and direct and mode is not TlsMode.REQUIRE:
        raise refuse(
            sslmode,
            f'weak sslmode "{sslmode.value}" may not be used with sslnegotiation=direct '
            '(use "require", "verify-ca", or "verify-full")',
            "Use sslmode=verify-full, or leave out sslnegotiation.",
        )
    if sslrootcert and sslrootcert.value == "system":
        if sslmode and sslmode.value != "verify-full":
            raise refuse(
                sslmode,
                f'weak sslmode "{sslmode.value}" may not be used with sslrootcert=system (use "verify-full")',
                "Use sslmode=verify-full: public CAs issue certificates to everyone, so the name must be verified.",
            )
        return {
            "tls_mode": Field.by(sslrootcert, TlsMode.REQUIRE),
            "tls_verify": Field.by(sslrootcert, TlsVerify.FULL),
            "tls_default_roots": Field.by(sslrootcert, True),
            "tls_common_name": Field.by(sslrootcert, True),
        }
    fields = {}
    if sslmode:
        fields["tls_mode"] = Field.by(sslmode, mode)
        if mode is TlsMode.DISABLE:
            return fields
        fields["tls_fallback"] = Field.by(sslmode, mode is TlsMode.PREFER)
        fields["tls_verify"] = Field.by(sslmode, verify)
        if verify is TlsVerify.FULL:
            fields["tls_common_name"] = Field.by(sslmode, True)
    # verify-ca and verify-full require a file. Otherwise the default file is used if it exists.
    needed = sslmode is not None and verify is not TlsVerify.NONE
    root = _find_file("sslrootcert", "root.crt", settings, environ, may_be_missing=needed)
    if root is not None:
        fields["tls_root_cert_path"] = root
        fields["tls_default_roots"] = Field.by(root, False)
        if verify is TlsVerify.NONE:  # as in libpq, a root file makes the weaker modes verify the chain
            fields["tls_verify"] = Field.by(root, TlsVerify.CA)
    elif sslmode and verify is not TlsVerify.NONE:
        raise refuse(
            sslmode,
            f'sslmode "{sslmode.value}" needs a root certificate file, but there is no default file',
            "Set sslrootcert to the file of CA certificates, or use sslmode=verify-full sslrootcert=system.",
        )
    return fields
