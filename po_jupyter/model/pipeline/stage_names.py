"""Functions of a Python task whose name was meant to be that of a stage."""

from __future__ import annotations

import ast
from difflib import get_close_matches
from typing import NamedTuple

from po_jupyter.model.pipeline.task_parts import STAGES

_CLOSE = 0.8  # of difflib; `inferece` is 0.94 like `inference`, `parse` 0.67 like `parsing`


class MisspeltStage(NamedTuple):
    """A function that is called like a stage, nearly; `line` is that of the source."""

    function: str
    stage: str
    line: int


def misspelt_stages(source: str) -> list[MisspeltStage]:
    """Functions that nothing in `source` uses, and whose names are nearly those of stages that it does not define.

    Nobody would call them. Raises SyntaxError.
    """
    module = ast.parse(source)
    functions = [n for n in module.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    used = {n.id for n in ast.walk(module) if isinstance(n, ast.Name)}
    used |= {n.attr for n in ast.walk(module) if isinstance(n, ast.Attribute)}
    missing = [stage for stage in STAGES if stage not in {_plain(f.name) for f in functions}]
    misspelt = []
    for function in functions:
        near = get_close_matches(_plain(function.name), missing, n=1, cutoff=_CLOSE)
        if near and function.name not in used and _plain(function.name) not in STAGES:
            misspelt.append(MisspeltStage(function.name, near[0], function.lineno))
    return misspelt


def _plain(name: str) -> str:
    """A name in small letters with underscores: the first system's `validateQuality` is a stage too."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
