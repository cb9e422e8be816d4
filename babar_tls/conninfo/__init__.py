"""Conversion of libpq connection strings (URIs and keyword strings) to fields of `Config`, and back.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING

::

    syntax.parse ──► sources.resolve ──► interpret.interpret ──► fields of Config ──► format.format_conninfo
    (string to        (+ service file,    (values, hosts,                              (fields to string)
     keywords)         environment)        TLS options)                             └► libpq.format_libpq
                                                                                       (fields to keywords of libpq)
"""

from __future__ import annotations

from .interpret import interpret, read
from .setting import Field, Setting
from .sources import resolve
from .syntax import parse

__all__ = ["Field", "Setting", "interpret", "parse", "read", "resolve"]
