"""Explanations in plain words: the consequences of a configuration, its weaknesses and those of a connection."""

from .changes import Change, combined, find_changes, written_like
from .connection import connection_warnings, describe_binding, describe_verification
from .consequences import find_consequences
from .weaknesses import Weakness, find_weaknesses

__all__ = [
    "Change",
    "Weakness",
    "combined",
    "connection_warnings",
    "describe_binding",
    "describe_verification",
    "find_changes",
    "find_consequences",
    "find_weaknesses",
    "written_like",
]
