"""The arguments of `Config`: their names, their types, and what `repr` shows of them."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
import traceback
from enum import Enum
from typing import Any

import pytest

from babar_tls import AsyncSession, Session
from babar_tls.config import Config, ConfigOptions
from babar_tls.config.fields import DEFAULTS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dbname", "Use database, or set dbname in the connection string for Config.from_conninfo."),
        ("sslmode", "Use tls_mode and tls_verify, or set sslmode in the connection string for Config.from_conninfo."),
        ("ssl", "Use tls_mode and tls_verify, or set sslmode in the connection string for Config.from_conninfo."),
        ("dsn", "Use Config.from_conninfo."),
        ("tls_verfy", "Did you mean 'tls_verify'?"),
        ("HOST", "Did you mean 'host'?"),
        ("geheim", "It is not a field of babar_tls.Config."),
    ],
)
def test_constructor_refuses_arguments_that_are_no_fields_and_names_the_right_one(name: str, text: str) -> None:
    fields: dict[str, Any] = {name: "hunter2"}
    with pytest.raises(TypeError) as caught:
        Config(user="u", password="hunter2", **fields)
    assert str(caught.value) == f"Config() got an unexpected keyword argument {name!r}. {text}"
    assert caught.value.__context__ is None
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    assert "hunter2" not in repr([frame.locals for frame in frames[1:]])


def test_positional_argument_is_refused_with_a_remedy() -> None:
    arguments: Any = ["postgresql://app:hunter2@db/shop"]
    with pytest.raises(TypeError) as caught:
        Config(*arguments)
    assert str(caught.value) == (
        "Config() accepts only keyword arguments. Use Config.from_conninfo or connect for a connection string."
    )
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    assert "hunter2" not in repr([frame.locals for frame in frames[1:]])


def test_derived_value_is_refused_with_a_remedy() -> None:
    config = Config(user="u")
    assert config.targets
    fields: dict[str, Any] = vars(config)
    with pytest.raises(TypeError, match=r"'targets'\. It is derived from fields\. Use replace\(\) to copy a Config\."):
        Config(**fields)
    assert config.replace() == config


def test_signature_of_config_names_every_field() -> None:
    parameters = inspect.signature(Config).parameters
    assert list(parameters) == list(DEFAULTS)
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())


def test_options_are_the_fields() -> None:
    assert ConfigOptions.__optional_keys__ == DEFAULTS.keys()


def test_literals_of_options_are_the_values_of_the_enums() -> None:
    module = sys.modules[ConfigOptions.__module__]
    enums = {name: each for name, each in vars(sys.modules["babar_tls.config.enums"]).items() if isinstance(each, type)}
    checked = set()
    for name, annotation in ConfigOptions.__annotations__.items():
        text = annotation.__forward_arg__
        found = re.match(r"(\w+) \| Literal\[(.*?)\]", vars(module).get(text.removesuffix(" | None"), text))
        if found is not None:
            assert [value.strip(" \"'") for value in found[2].split(",")] == [each.value for each in enums[found[1]]]
            checked.add(name)
    assert checked == {"tls_max_version"} | {name for name, default in DEFAULTS.items() if isinstance(default, Enum)}


@pytest.mark.parametrize("target", ["postgresql://app:secret@h/d", None, {"host": "h"}])
def test_connect_of_a_session_needs_a_config(target: Any) -> None:
    for function in (Session.connect, lambda config: asyncio.run(AsyncSession.connect(config))):
        with pytest.raises(
            TypeError, match=r"needs a Config, not (str|NoneType|dict)\. For a connection string"
        ) as caught:
            function(target)
        assert "secret" not in str(caught.value)
