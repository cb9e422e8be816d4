"""The TLS fields of `Config` as keywords of libpq, and the problems of fields that libpq cannot represent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..config.enums import ClientCertMode, TlsMode, TlsVerify
from ..config.fields import DEFAULTS
from ..config.token_uri import is_token_uri
from ..config.validation import has_surrogates
from ..errors import ConfigError
from .format import format_field
from .tls_options import SSL_MODES

if TYPE_CHECKING:
    from ..config.fields import ConfigFields

#: A path at which no file can exist. libpq replaces an empty file name with a file in ``~/.postgresql``, and continues
#: without a file that does not exist. Only verify-ca and verify-full require the root file.
NO_FILE = "/dev/null/none"

_MODES = {pair: name for name, pair in SSL_MODES.items()}
_LONGEST_PATH = 1023  # bytes: MAXPGPATH without the NUL
_OWN_FILE = "set tls_root_cert_path and tls_default_roots=False"


class Problems:
    """The fields that a version of libpq cannot represent.

    Attributes:
        libpq: The major version of libpq.
    """

    def __init__(self, config: ConfigFields, libpq: int) -> None:
        self._config = config
        self._found: dict[tuple[str, str], str] = {}
        self.libpq = libpq

    def refuse(self, field: str, why: str, remedy: str) -> None:
        """Add a problem: a field, the predicate of a sentence about it, and the change that solves the problem."""
        self._found[field, why] = remedy

    def require(self, field: str, since: int, why: str | None = None) -> None:
        """Add a problem if this version of libpq is older than `since`."""
        if self.libpq < since:
            value = getattr(self._config, field)
            why = why or ("has its default value" if value == DEFAULTS[field] else "is set")
            self.refuse(field, f"{why}, which requires libpq {since}", f"use libpq {since} or newer, or change {field}")

    def format_field(self, name: str, remedy: str = "change its value") -> str:
        """Return the value of a field as text. A value that is not text is a problem."""
        try:
            text = format_field(name, getattr(self._config, name))
        except ConfigError as error:
            self.refuse(name, error.message.removeprefix(f"{name} "), remedy)
            return ""
        self.check_text(name, text)
        return text

    def format_path(self, name: str, remedy: str = "change its value") -> str:
        """Return the path in a field. libpq would truncate a longer one, and open another file."""
        path = self.format_field(name, remedy)
        if len(os.fsencode(path)) > _LONGEST_PATH:
            self.refuse(name, f"is longer than {_LONGEST_PATH} bytes", "use a shorter path")
        return path

    def check_text(self, field: str, text: str) -> None:
        """Add a problem if a text contains surrogates, which represent bytes of a file name (PEP 383)."""
        if has_surrogates(text):
            self.refuse(field, "contains bytes that are not UTF-8", "rename the file or the directory")

    def format_secret(self, name: str) -> str:
        """Return a password as text. libpq uses the bytes of its UTF-8 form."""
        secret = getattr(self._config, name)
        if callable(secret):
            self.refuse(name, "is a callable", f"call it, and replace {name} by the result for each connection")
            return ""
        try:
            return format_field(name, secret.decode() if isinstance(secret, bytes) else secret)
        except (UnicodeDecodeError, ConfigError):
            self.refuse(name, "is not text in UTF-8, or contains a NUL", "set it to a str without NUL")
            return ""

    def check(self) -> None:
        """Raise one error for all problems.

        Raises:
            ConfigError: There are problems.
        """
        if self._found:
            problems = "; ".join(f"{field} {why}" for field, why in self._found)
            remedies = dict.fromkeys(f"{field}: {remedy}." for (field, _), remedy in self._found.items())
            raise ConfigError(
                f"libpq {self.libpq} cannot represent this configuration: {problems}", remedy="\n".join(remedies)
            )


def format_verification(config: ConfigFields, problems: Problems) -> dict[str, str]:
    """Return sslmode and the files for the verification of the server."""
    mode, verify = config.tls_mode, config.tls_verify
    values = {"sslmode": mode.value, "sslrootcert": NO_FILE, "sslcrl": NO_FILE, "sslcrldir": ""}
    if mode is TlsMode.DISABLE:
        return values
    values["sslmode"] = _MODES.get((mode, verify), mode.value)
    if mode is TlsMode.PREFER and not config.tls_fallback:
        problems.refuse(
            "tls_fallback",
            "is not set, but sslmode=prefer repeats a failed TLS attempt without TLS",
            "use tls_mode=require",
        )
    if mode is not TlsMode.REQUIRE and verify is TlsVerify.FULL:
        problems.refuse(
            "tls_verify", f"is full, but sslmode={mode.value} does not verify the name", "use tls_mode=require"
        )
    if verify is TlsVerify.NONE:
        return values
    values["sslrootcert"] = _format_roots(config, problems)
    if config.tls_crl_path is not None:
        problems.refuse(
            "tls_crl_path",
            "is set, but libpq does not check revocation if it cannot read that file (sslcrl)",
            "use tls_crl_dir (openssl rehash)",
        )
    if config.tls_crl_dir is not None:
        # With a file that cannot be read, libpq does not use the directory either. It uses no default file with one.
        values |= {"sslcrl": "", "sslcrldir": problems.format_field("tls_crl_dir")}
        problems.require("tls_crl_dir", 14)
        if os.pathsep in values["sslcrldir"]:
            problems.refuse(
                "tls_crl_dir",
                f"contains {os.pathsep!r}, which separates directories (X509_LOOKUP_hash_dir)",
                "rename the directory",
            )
        if values["sslrootcert"] == "system":
            problems.refuse(
                "tls_crl_dir", "is set, but libpq does not check revocation with sslrootcert=system", _OWN_FILE
            )
    return values


def _format_roots(config: ConfigFields, problems: Problems) -> str:
    if not config.tls_default_roots:
        if config.tls_root_cert_path == "system":
            problems.refuse(
                "tls_root_cert_path", "is a file named system, which means the default roots to libpq", "write ./system"
            )
        return problems.format_path("tls_root_cert_path")
    if config.tls_os_roots:
        problems.refuse("tls_os_roots", "is set, but libpq cannot use that verifier", _OWN_FILE)
    elif config.tls_root_cert_path is not None:
        problems.refuse(
            "tls_default_roots",
            "is set together with tls_root_cert_path, but a root file replaces the default roots of libpq",
            "set it to False",
        )
    elif config.tls_verify is not TlsVerify.FULL or config.tls_mode is not TlsMode.REQUIRE:
        problems.refuse(
            "tls_default_roots",
            "is set, but sslrootcert=system requires sslmode=verify-full",
            f"{_OWN_FILE}, or use tls_mode=require and tls_verify=full",
        )
    elif problems.libpq < 16:
        problems.refuse(
            "tls_default_roots",
            "is set, but sslrootcert=system requires libpq 16",
            f"use libpq 16 or newer, or {_OWN_FILE}",
        )
    return "system"


def format_client_certificate(config: ConfigFields, problems: Problems) -> dict[str, str]:
    """Return the keywords of the client certificate."""
    mode = ClientCertMode.DISABLE if config.tls_mode is TlsMode.DISABLE else config.tls_client_cert_mode
    if mode is ClientCertMode.REQUIRE:
        problems.require("tls_client_cert_mode", 16)
    elif config.tls_client_cert is None:
        mode = ClientCertMode.DISABLE
    values = {"sslcert": NO_FILE, "sslkey": NO_FILE, "sslpassword": "", "sslcertmode": mode.value}
    if config.tls_client_cert is None or mode is ClientCertMode.DISABLE:
        return values
    if is_token_uri(config.tls_client_key):  # libpq would read its scheme as the name of an OpenSSL engine
        problems.refuse("tls_client_key", "is a PKCS #11 URI, which libpq cannot use", "set it to a file")
        return values
    to_file = "write it to a file and set the path"
    values["sslcert"] = problems.format_path("tls_client_cert", to_file)
    if values["sslcert"].lower().endswith((".p12", ".pfx")):
        problems.refuse(
            "tls_client_cert",
            "is a PKCS #12 file, which libpq cannot read",
            "convert it to PEM (openssl pkcs12 -in FILE -out FILE.pem)",
        )
    key = "tls_client_cert" if config.tls_client_key is None else "tls_client_key"
    values["sslkey"] = problems.format_path(key, to_file)
    if ":" in os.path.splitdrive(values["sslkey"])[1]:
        problems.refuse(key, "contains a colon, which denotes a key in a token (sslkey)", "rename the file")
    values["sslpassword"] = problems.format_secret("tls_client_key_password")
    return values
