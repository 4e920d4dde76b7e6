"""Code that comes as text is compiled as its author wrote it."""

from __future__ import annotations

import typing

import pytest

from po_jupyter.engine.base.source_module import load_source

CLASSES = """
from dataclasses import dataclass, fields
from typing import get_type_hints
import pydantic

def local():
    class Inner:
        pass
    @dataclass
    class Outer:
        inner: Inner
    class Model(pydantic.BaseModel):
        number: int
        choice: Inner | None = None
        model_config = {"arbitrary_types_allowed": True}
    return Inner, Outer, Model
"""


def test_annotations_are_values_unless_their_author_says_otherwise() -> None:
    """`from __future__ import annotations` of our own module was handed on: a class that names a local one broke."""
    module = load_source("kinds", CLASSES)
    inner, outer, model = module.local()
    assert [field.type for field in module.fields(outer)] == [inner]
    assert typing.get_type_hints(outer) == {"inner": inner}
    assert model(number="3", choice=inner()).number == 3


def test_an_authors_own_future_import_counts() -> None:
    text = "from __future__ import annotations\ndef f(x: Later) -> None: ...\n"
    assert load_source("later", text).f.__annotations__ == {"x": "Later", "return": "None"}
    with pytest.raises(NameError):
        load_source("now", "def f(x: Later) -> None: ...\n")
