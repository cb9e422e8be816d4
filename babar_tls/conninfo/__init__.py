"""libpq connection strings: URIs and keyword strings, with libpq's meaning, as fields of `Config`, and back.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING

::

    syntax ──► sources ──► meaning ──► fields of Config ──► format
    (cut into   (service,    (values, hosts, trust, own:       (a string again)
     keywords)   PG*)         each with who said so)
"""

from __future__ import annotations

from .interpret import Field, Setting, config_fields, elsewhere, interpret, parse, read, resolve

__all__ = ["Field", "Setting", "config_fields", "elsewhere", "interpret", "parse", "read", "resolve"]
