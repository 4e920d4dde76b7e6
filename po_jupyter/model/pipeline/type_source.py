"""The source of a type: Python text that defines it anew where a run works, so that its validators judge there.

A run's definition is JSON. What a class demands beyond its JSON Schema (`field_validator`, `AfterValidator`,
`__post_init__`, `HttpUrl`, `PastDate`, ...) travels as text: an import of what is installed or lies in the current
directory, and the source of what a notebook defined, with the functions, classes and constants that it uses.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import datetime
import enum
import importlib.util
import os
import re
import sys
import sysconfig
import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import Field
from pydantic.fields import FieldInfo

from po_jupyter.model.pipeline.answer_schema import answer_schema_of
from po_jupyter.model.pipeline.definition_text import (
    Untransferable,
    definition_of,
    is_code,
    names_of,
    namespace_of,
)

NAME = "Answer"  # what the source defines
_INSTALLED = tuple(
    {path for key in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_path(key))}
)
# Kinds of pydantic's core schemas of which the JSON Schema and its formats say everything.
_IN_THE_SCHEMA = frozenset(
    {"any", "none", "bool", "int", "float", "str", "bytes", "literal", "enum", "date", "time", "datetime", "timedelta",
     "uuid", "decimal", "list", "set", "frozenset", "tuple", "dict", "model", "model-fields", "model-field",
     "dataclass", "dataclass-args", "dataclass-field", "typed-dict", "typed-dict-field", "nullable", "union",
     "tagged-union", "definitions", "definition-ref", "default", "lax-or-strict", "json-or-python"}
)  # fmt: skip
_TIMES = frozenset({"date", "time", "datetime", "timedelta"})
_BOUNDS = ("gt", "ge", "lt", "le", "now_op", "tz_constraint")
_HOOKS = ("post_init", "custom_init")
_NOT_JUDGING = frozenset(
    {"metadata", "serialization", "config", "computed_fields", "cls", "default", "expected"}
)


def type_source(kind: Any) -> str | None:
    """The source of a type, which defines it as `Answer`; None when its JSON Schema says all that it demands.

    Raises Untransferable.
    """
    adapter = answer_schema_of(kind).adapter
    if adapter is None or _in_schema(adapter.core_schema):
        return None
    writer = _Writer()
    expression = writer.expression(kind)
    return writer.text(f"{NAME} = {expression}")


def _in_schema(node: Any) -> bool:
    """Whether a part of a core schema demands nothing that its JSON Schema does not say."""
    if isinstance(node, Mapping):
        kind = node.get("type")
        if isinstance(kind, str):
            bounds = kind in _TIMES and any(node.get(name) is not None for name in _BOUNDS)
            digits = kind == "decimal" and any(node.get(name) for name in ("max_digits", "decimal_places"))
            if kind not in _IN_THE_SCHEMA or bounds or digits or any(node.get(name) for name in _HOOKS):
                return False
        return all(_in_schema(part) for name, part in node.items() if name not in _NOT_JUDGING)
    return not isinstance(node, list | tuple) or all(map(_in_schema, node))


class _Writer:
    """The text of a module, written from the values that it has to define."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._defined: dict[str, Any] = {}
        self._future = False

    def text(self, last: str) -> str:
        """The text, with `last` at its end."""
        first = ["from __future__ import annotations"] if self._future else []
        return "\n".join([*first, *self._lines, last]) + "\n"

    # -- types as expressions -----------------------------------------------------------------------
    def expression(self, kind: Any) -> str:
        """A type as an expression, whose names are defined."""
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        if kind is None or kind is type(None):
            return "None"
        if origin is None:
            return self.name_of(kind)
        if origin is typing.Annotated:
            parts = [self.expression(args[0])]
            for value in kind.__metadata__:
                parts += self._annotations(value)
            return f"{self._of_typing('Annotated')}[{', '.join(parts)}]"
        if origin is typing.Literal:
            return f"{self._of_typing('Literal')}[{', '.join(map(self._constant, args))}]"
        inner = ", ".join(map(self.expression, args))
        if origin in (typing.Union, types.UnionType):
            return f"{self._of_typing('Union')}[{inner}]"
        return f"{self.name_of(origin)}[{inner}]"

    def _of_typing(self, name: str) -> str:
        return self.name_of(getattr(typing, name), name)

    def _annotations(self, value: Any) -> list[str]:
        """The parts of an `Annotated` that stand for one: a dataclass of pydantic's, or a `Field` and its bounds."""
        if isinstance(value, FieldInfo):
            parts = [part for bound in value.metadata for part in self._annotations(bound)]
            return [*parts, self._call(Field, _field_arguments(value))]
        if (
            type(value).__name__ == "_PydanticGeneralMetadata"
        ):  # of the bounds that annotated_types has no name for
            return [self._call(Field, vars(value))]
        if (fields := getattr(type(value), "__dataclass_fields__", None)) is not None:
            arguments = {name: getattr(value, name) for name in fields}
            changed = {name: part for name, part in arguments.items() if part is not fields[name].default}
            return [self._call(type(value), changed)]
        return [self._constant(value)]

    def _call(self, function: Any, arguments: Mapping[str, Any]) -> str:
        pairs = [f"{name}={self._constant(value)}" for name, value in arguments.items()]
        return f"{self.name_of(function)}({', '.join(pairs)})"

    def _constant(self, value: Any) -> str:
        if isinstance(value, enum.Enum):
            return f"{self.name_of(type(value))}.{value.name}"
        if isinstance(value, types.FunctionType | type):
            return self.name_of(value)
        if (literal := _literal(value)) is not None:
            return literal
        if type(value).__module__ == "datetime":
            self._define("_datetime", datetime, {})
            return re.sub(r"\bdatetime\.", "_datetime.", repr(value))
        raise Untransferable(f"{value!r:.60} cannot be written as Python")

    # -- names ----------------------------------------------------------------------------------------
    def name_of(self, value: Any, name: str = "") -> str:
        """The name of a class or function, which is defined. Raises Untransferable."""
        name = name or getattr(value, "__name__", "") or getattr(value, "_name", "") or ""
        if not name.isidentifier():
            raise Untransferable(f"{value!r:.60} has no name")
        self._define(name, value, namespace_of(value))
        return name

    def _define(self, name: str, value: Any, namespace: Mapping[str, Any]) -> None:
        """Have `name` stand for `value`; `namespace` is where its name was read."""
        if getattr(builtins, name, None) is value and value is not None:
            return
        if name in self._defined:
            if self._defined[name] is not value:
                raise Untransferable(f"two things are called {name}")
            return
        self._defined[name] = value
        line = _import_of(name, value) or _assignment_of(name, value)
        if line is not None:
            self._lines.append(line)
            return
        own = getattr(value, "__name__", name)
        definition = definition_of(own if is_code(value) else name, value, namespace)
        scope = names_of(value, namespace)
        if scope.get("annotations") is __future__.annotations:
            self._future = True
        for used in definition.uses:
            if used != own and (used in scope or not hasattr(builtins, used)):
                if used not in scope:
                    raise Untransferable(f"{name} uses `{used}`, which is not known where it is defined")
                self._define(used, scope[used], scope)
        self._lines.append(definition.text)
        if definition.name != name:
            self._lines.append(f"{name} = {definition.name}")


def _field_arguments(field: FieldInfo) -> dict[str, Any]:
    """The arguments of `Field(...)` that made a field."""
    arguments = dict(getattr(field, "_attributes_set", {}))
    return {name: value for name, value in arguments.items() if name not in ("annotation", "metadata")}


# -- what needs no source --------------------------------------------------------------------------------


def _import_of(name: str, value: Any) -> str | None:
    """The import that brings `value`; None when there is none."""
    if isinstance(value, types.ModuleType):
        return f"import {value.__name__} as {name}"
    for module in (getattr(value, "__module__", None), "typing", "typing_extensions"):
        path = getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or name
        if isinstance(module, str) and _is_found_there(module) and _resolve(module, path) is value:
            first, _, rest = path.partition(".")
            if not rest:
                return f"from {module} import {first} as {name}"
            return f"from {module} import {first} as _{first}\n{name} = _{path}"
    return None


def _is_found_there(module: str) -> bool:
    """Whether a worker finds the module: it is installed, or lies in the current directory."""
    if module == "__main__" or module.startswith("po_jupyter_"):
        return False
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return False
    if spec is None:
        return False
    file = spec.origin
    return file in (None, "built-in", "frozen") or os.path.abspath(str(file)).startswith(
        (*_INSTALLED, os.getcwd() + os.sep)
    )


def _resolve(module: str, path: str) -> Any:
    value: Any = sys.modules.get(module)
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


def _assignment_of(name: str, value: Any) -> str | None:
    """The assignment of a constant; None for anything else."""
    literal = _literal(value)
    return None if literal is None else f"{name} = {literal}"


def _literal(value: Any) -> str | None:
    text = repr(value)
    try:
        same = len(text) < 100_000 and ast.literal_eval(text) == value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return text if same else None
