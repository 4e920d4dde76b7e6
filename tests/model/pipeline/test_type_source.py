"""The source of a type: what its validators need to judge in another process (A3)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import re
import subprocess
import sys
import types
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict

import pytest
from IPython.core.interactiveshell import InteractiveShell
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    PastDate,
    field_validator,
    model_validator,
)

from po_jupyter.model.pipeline.answer_schema import answer_schema_of
from po_jupyter.model.pipeline.definition_text import Untransferable
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.pipeline.type_source import type_source

LIMIT = 3


class Plain(BaseModel):
    model_config = ConfigDict(extra="forbid")
    label: Literal["bug", "praise"]
    due: dt.date | None = None
    tags: list[Annotated[str, Field(max_length=5)]] = []
    size: int = Field(default=1, ge=0)


class Options(TypedDict, total=False):
    name: str


class Kind(enum.Enum):
    BUG = "bug"


class Tree(BaseModel):
    children: list[Tree] = []


class Short(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def _is_short(cls, text: str) -> str:
        assert len(text) <= LIMIT, "too long"
        return text


def no_dots(text: str) -> str:
    if "." in text:
        raise ValueError("dots")
    return text


@dataclasses.dataclass
class Positive:
    x: int

    def __post_init__(self) -> None:
        if self.x <= 0:
            raise ValueError("not positive")


@pytest.mark.parametrize("kind", [Plain, Options, Kind, Tree, list[Plain], Plain | None, str, dict[str, int]])
def test_what_a_schema_says_needs_no_source(kind: Any) -> None:
    assert type_source(kind) is None


def checks(source: str | None) -> Callable[[Any], list[str]]:
    """The violations that a module of that source finds."""
    assert source is not None
    module = types.ModuleType("tried")
    sys.modules["tried"] = module
    exec(source, module.__dict__)
    return answer_schema_of(module.Answer).violations


SHORT = Annotated[str, AfterValidator(no_dots)]
TYPES: dict[str, tuple[Any, Any, Any]] = {
    "a field validator": (Short, {"text": "abc"}, {"text": "abcd"}),
    "in a list": (list[Short], [{"text": "a"}], [{"text": "abcd"}]),
    "or null": (Short | None, None, {"text": "abcd"}),
    "one of two": (Short | int, 3, {"text": "abcd"}),
    "in a dict": (dict[str, Short], {}, {"a": {"text": "abcd"}}),
    "a dataclass": (Positive, {"x": 1}, {"x": 0}),
    "an annotation": (SHORT, "a", "a."),
    "a validator before": (Annotated[str, BeforeValidator(no_dots)], "a", "a."),
    "bounds of a date": (Annotated[dt.date, Field(gt=dt.date(2020, 1, 1))], "2021-01-01", "2019-01-01"),
    "a date that is past": (PastDate, "2020-01-01", "2999-01-01"),
    "digits of a Decimal": (Annotated[Decimal, Field(max_digits=2)], "1.2", "1.234"),
    "a link": (HttpUrl, "https://example.com", "ftp://example.com"),
}


@pytest.mark.parametrize("name", TYPES)
def test_what_a_schema_does_not_say_travels(name: str) -> None:
    kind, right, wrong = TYPES[name]
    violations = checks(type_source(kind))
    assert violations(right) == []
    assert violations(wrong)


def test_a_class_of_a_function_travels_with_what_it_uses() -> None:
    allowed = {"a", "b"}
    pattern = re.compile("^a")

    def known(word: str) -> bool:
        return word in allowed and pattern.match(word) is not None

    class Word(BaseModel):
        word: str

        @model_validator(mode="after")
        def _is_known(self) -> Word:
            if not known(self.word):
                raise ValueError(f"{self.word} is not known")
            return self

    violations = checks(type_source(Word))
    assert violations({"word": "a"}) == []
    assert "b is not known" in violations({"word": "b"})[0]


def test_what_only_this_process_has_is_said() -> None:
    connection = object()

    class Uses(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def _check(cls, x: int) -> int:
            assert connection
            return x

    with pytest.raises(Untransferable, match="`connection`, a object that only this process has"):
        type_source(Uses)
    with pytest.raises(ValueError, match=r"the validators of .*Uses.* cannot go along.*JSON Schema"):
        Task(name="t", prompt="x", output=Uses)
    made = type("Made", (Uses,), {})
    with pytest.raises(Untransferable, match="the source of Made is not known"):
        type_source(made)


CELLS = """
from enum import Enum
import datetime as dt, typing as t
from pydantic import AfterValidator, BaseModel, field_validator
# %%
class Kind(Enum):
    BUG = 'bug'

LIMITS = {'year': 2000}
never = print('this cell prints')
# %%
def year_of(day):
    return day.year
# %%
Lower = t.Annotated[str, AfterValidator(lambda text: text.lower() if text.islower() else 1 / 0)]
# %%
%time 1
class Base(BaseModel):
    kind: Kind

    @field_validator('kind')
    def wrong(cls, v):
        raise ValueError('of an older cell')
# %%
class Base(BaseModel):
    kind: Kind
    note: Lower
# %%
class Ticket(Base):
    due: dt.date
    parts: list['Ticket'] = []

    @field_validator('due')
    def _late(cls, due):
        if year_of(due) < LIMITS['year']:
            raise ValueError('too early')
        return due
"""


def test_a_class_of_a_notebook_travels(capsys: pytest.CaptureFixture[str]) -> None:
    """Over several cells, in the version that was run last, and nothing else of the cells is run."""
    shell = InteractiveShell.instance()
    for cell in CELLS.split("# %%"):
        shell.run_cell(cell).raise_error()
    source = type_source(shell.user_ns["Ticket"])
    capsys.readouterr()
    violations = checks(source)
    assert capsys.readouterr().out == ""
    assert violations({"kind": "bug", "note": "a", "due": "2026-01-01", "parts": []}) == []
    assert "too early" in violations({"kind": "bug", "note": "a", "due": "1999-01-01"})[0]
    assert "too early" in violations({"kind": "bug", "note": "a", "due": "2026-01-01", "parts": [
        {"kind": "bug", "note": "a", "due": "1999-01-01"}]})[0]  # fmt: skip


@pytest.mark.integration
def test_it_is_the_same_in_another_process() -> None:
    source = type_source(Short)
    code = (
        f"{source}\nfrom pydantic import TypeAdapter\nTypeAdapter(Answer).validate_python({{'text': 'abcd'}})"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "too long" in ended.stderr
