"""The options of the commands that connect, and the fields of `Config` that they replace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import positive_seconds

if TYPE_CHECKING:
    import argparse


def add_connection_options(parser: argparse.ArgumentParser, *, backend: str, timeout: str) -> None:
    """Add the options to the parser.

    Args:
        parser: The parser of the command.
        backend: The help of ``--backend``.
        timeout: The help of ``--timeout``.
    """
    parser.add_argument("conninfo", metavar="CONNINFO", nargs="?", default="", help="the connection string")
    parser.add_argument("--backend", metavar="NAME", help=f"{backend} (see: babar-tls backends)")
    parser.add_argument("--root-cert", metavar="PATH", help="trust only the CA certificates in this PEM file")
    parser.add_argument("--server-name", metavar="NAME", help="name to verify in the certificate, instead of the host")
    parser.add_argument("--timeout", metavar="SECONDS", type=positive_seconds, help=timeout)
    parser.add_argument(
        "--password-file",
        metavar="PATH",
        help="read the password from the first line of this file, or of standard input (-)",
    )


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `Config` that the options set.

    Raises:
        ConfigError: The password file cannot be used.
    """
    fields: dict[str, Any] = {
        "tls_backend": options.backend,
        "tls_root_cert_path": options.root_cert,
        "tls_server_name": options.server_name,
        "connect_timeout": options.timeout,
        "password": None if options.password_file is None else _read_password(options.password_file),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _read_password(path: str) -> bytes:
    """Return the first line of a file.

    Raises:
        ConfigError: The file cannot be read, or the line is empty.
    """
    from ..errors import ConfigError  # noqa: PLC0415 - slow to import, not needed for --help

    try:
        with sys.stdin.buffer if path == "-" else Path(path).open("rb") as file:
            password = file.readline().rstrip(b"\r\n")
    except OSError as exc:
        raise ConfigError(f'could not read password file "{path}": {exc.strerror}') from exc
    if not password:
        raise ConfigError(f'password file "{path}" has no first line')
    return password
