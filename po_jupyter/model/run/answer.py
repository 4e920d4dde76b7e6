"""A model's answer, as `ctx.llm` and `po.chat` give it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from po_jupyter.model.run.usage import Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a model.

    text   the answer as it was written
    value  the JSON in it, where JSON was asked for; an instance where a class was given for its shape
    usage  tokens and cost of every call that led to it: re-asks and rounds of tools are calls of their own
    model  what the provider says it used
    run    the run that asked, where there is one to look at (`po.chat`); None in a task
    """

    text: str
    value: Any = None
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    run: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """The text."""
        return self.text
