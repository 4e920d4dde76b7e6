"""Definitions of classes, functions and constants as text: found where they were written, in a file or a notebook's
cell, with the names that they use."""

from __future__ import annotations

import ast
import datetime
import decimal
import enum
import functools
import inspect
import linecache
import os
import re
import symtable
import sys
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

_VALUES = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    re.Pattern,
    FieldInfo,
)


class Untransferable(ValueError):
    """The validators of a type that cannot be taken to where a run works; says why."""


def is_code(value: Any) -> bool:
    """Whether a value is a class or a function."""
    return isinstance(value, type | types.FunctionType)


def namespace_of(value: Any) -> Mapping[str, Any]:
    """The module where a class or function was defined; empty for anything else."""
    module = sys.modules.get(value.__module__) if is_code(value) else None
    return vars(module) if module is not None else {}


def names_of(value: Any, namespace: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of the names in the definition of a class or function, those of an enclosing function too."""
    names = dict(namespace_of(value) or namespace)
    if namespace is not names:
        names = {**namespace, **names}
    for name, reference in (getattr(value, "__pydantic_parent_namespace__", None) or {}).items():
        names[name] = reference() if type(reference).__name__ == "_PydanticWeakRef" else reference
    for function in _functions(value):
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            try:
                names[name] = cell.cell_contents
            except ValueError:  # not set yet
                continue
    return names


def _functions(value: Any) -> Iterator[types.FunctionType]:
    """The functions that a function or class consists of, without those of its bases."""
    todo = [value] if not isinstance(value, type) else list(vars(value).values())
    for part in todo:
        part = getattr(part, "wrapped", part)  # pydantic's decorators
        part = getattr(part, "__func__", getattr(part, "fget", part))
        part = inspect.unwrap(part) if callable(part) else part
        if isinstance(part, types.FunctionType) and _is_written_in(part, value):
            yield part


def _is_written_in(function: types.FunctionType, value: Any) -> bool:
    """Whether a function stands in the text of a definition; dataclasses and enums have some that stand nowhere."""
    inside = function is value or function.__qualname__.startswith(f"{value.__qualname__}.")
    return inside and function.__code__.co_filename != "<string>"


class Definition(NamedTuple):
    """The text of the statement that defines a value, the name that it gives it, and the names that it uses."""

    text: str
    name: str
    uses: list[str]


def definition_of(name: str, value: Any, namespace: Mapping[str, Any]) -> Definition:
    """The statement that defines `name`, its text, and the names that it uses. Raises Untransferable."""
    if not _may_be_run_again(value):
        raise Untransferable(f"it uses `{name}`, a {type(value).__name__} that only this process has")
    lines = [f.__code__.co_firstlineno for f in _functions(value)]
    for source in _sources(value, namespace):
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and _defines(node, name, value)]
        nodes = (
            [n for n in nodes if all(_first(n) <= line <= (n.end_lineno or 0) for line in lines)]
            if lines
            else nodes
        )
        if nodes:
            node = _nearest(nodes, value)
            text = textwrap.dedent("\n".join(source.splitlines()[_first(node) - 1 : node.end_lineno]))
            own = node.name if isinstance(node, ast.ClassDef | ast.FunctionDef) else name
            return Definition(text, own, _used_names(text))
    raise Untransferable(f"the source of {name} is not known here")


def _may_be_run_again(value: Any) -> bool:
    """Whether the statement that made `value` does nothing but that."""
    declared = typing.get_origin(value) is not None or isinstance(
        value, (*_VALUES, enum.Enum, typing.TypeVar, typing.NewType, functools.partial)
    )
    return is_code(value) or declared or type(value).__name__ in ("TypeAliasType", "ForwardRef")


def _defines(node: ast.stmt, name: str, value: Any) -> bool:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name == name and is_code(value)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id == name and node.value is not None
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    return type(node).__name__ == "TypeAlias" and getattr(node, "name").id == name  # noqa: B009  # Python 3.12


def _first(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _nearest(nodes: list[ast.stmt], value: Any) -> ast.stmt:
    """The statement that made `value`: where Python says, else the last one."""
    try:
        line = inspect.findsource(value)[1] + 1
    except (OSError, TypeError, IndexError):
        return nodes[-1]
    return next((node for node in nodes if _first(node) <= line <= node.lineno), nodes[-1])


def _sources(value: Any, namespace: Mapping[str, Any]) -> Iterator[str]:
    """Texts in which the definition may stand, the likeliest first."""
    files = [function.__code__.co_filename for function in _functions(value)]
    for variables in (namespace_of(value), namespace):
        if isinstance(file := variables.get("__file__"), str):
            files.append(file)
    if (namespace_of(value) or namespace).get("__name__", "__main__") == "__main__":
        files += [name for name in reversed(list(linecache.cache)) if not os.path.exists(name)]  # cells
    for file in dict.fromkeys(files):
        if lines := linecache.getlines(file, dict(namespace)):
            yield "".join(lines)


def _used_names(text: str) -> list[str]:
    """The names that a definition takes from around it, and those in its annotations, in the order of the text."""
    table = symtable.symtable(text, "<definition>", "exec")
    used: set[str] = set()
    for scope in _scopes(table):
        for symbol in scope.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or scope is table):
                used.add(symbol.get_name())
    tree = ast.parse(text)
    annotated = {name for node in ast.walk(tree) for name in _annotated_names(node)}
    own = {s.get_name() for s in table.get_symbols() if s.is_assigned()}
    order = {node.id: i for i, node in reversed(list(enumerate(ast.walk(tree)))) if isinstance(node, ast.Name)}
    return sorted((used | annotated) - own, key=lambda name: (order.get(name, 0), name))


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)


def _annotated_names(node: ast.AST) -> Iterable[str]:
    """The names in the annotation of a field, in texts too: `list["Label"]`."""
    if not isinstance(node, ast.AnnAssign):
        return
    todo: list[ast.AST] = [node.annotation]
    while todo:
        for part in ast.walk(todo.pop()):
            if isinstance(part, ast.Name):
                yield part.id
            elif isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.strip():
                try:
                    todo.append(ast.parse(part.value, mode="eval"))
                except (SyntaxError, ValueError):
                    continue
