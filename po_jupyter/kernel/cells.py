"""Python tasks that cells of this kernel define, and the notebook's globals that their code would miss in a worker."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from po_jupyter.kernel.errors import CellError
from po_jupyter.model.pipeline.pipeline import STAGES, Pipeline, Task
from po_jupyter.model.pipeline.stage_names import misspelt_stages
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.task_kind import ASKS_MODEL

BODY_OFFSET = 1  # the line of the magic itself stands before a cell's body
_MODULE_NAMES = frozenset({"__name__", "__file__", "__doc__", "__builtins__", "__annotations__", "__spec__"})

# The first system's camelCase names are stages too.
_STAGE_OF = {re.sub(r"_(\w)", lambda m: m[1].upper(), stage): stage for stage in STAGES}


@dataclass(frozen=True, slots=True)
class TaskCell:
    """A `%%po_task` cell: the text of a module, and the stage functions it defines, in their order."""

    name: str
    source: str
    stages: tuple[str, ...]
    asynchronous: frozenset[str]


def parse_task_cell(name: str, source: str) -> TaskCell:
    """The task in a cell's body. Raises CellError that names the line of the cell."""
    try:
        module = ast.parse(source)
    except SyntaxError as error:
        raise CellError(_syntax_message(error)) from None
    functions = {
        _STAGE_OF.get(n.name, n.name): n
        for n in module.body
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    stages = tuple(s for s in STAGES if s in functions)
    if not stages:
        guesses = [(name, did_you_mean(name, STAGES)) for name in functions]
        raise CellError(
            f"the task `{name}` defines no stage function\n"
            + "".join(f"`{function}` is not a stage{guess}\n" for function, guess in guesses if guess)
            + "A stage is a function of one argument, for example:\n"
            + "def ingestion(ctx):\n    return ctx.seed\n"
            + f"The stages: {', '.join(STAGES)}"
        )
    for misspelt in misspelt_stages(source):
        raise CellError(
            f"cell line {misspelt.line + BODY_OFFSET}: `{misspelt.function}` is not a stage, and nothing calls it; did "
            f"you mean `{misspelt.stage}`?\nThe stages: {', '.join(STAGES)}"
        )
    for stage in stages:
        arguments = functions[stage].args
        required = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
        takes_one = arguments.vararg is not None or arguments.posonlyargs or arguments.args
        keywords = [a for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]
        if required > 1 or not takes_one or keywords:
            line = functions[stage].lineno + BODY_OFFSET
            raise CellError(
                f"cell line {line}: a stage takes one argument, the context: def {functions[stage].name}(ctx)"
            )
    return TaskCell(
        name, source, stages, frozenset(s for s in stages if isinstance(functions[s], ast.AsyncFunctionDef))
    )


def _syntax_message(error: SyntaxError) -> str:
    line = f"cell line {error.lineno + BODY_OFFSET}: " if error.lineno else ""
    message = f"{line}the Python does not parse: {error.msg}"
    if error.text:
        text = error.text.rstrip("\n")
        message += f"\n    {text.strip()}"
        if error.offset:
            message += "\n    " + " " * max(0, error.offset - 1 - (len(text) - len(text.lstrip()))) + "^"
    return message


def globals_of_notebook(source: str, namespace: Container[str]) -> list[tuple[str, int]]:
    """Globals, as (name, line of `source`), that the code reads and does not define, but the notebook has.

    In the worker they will not be there. `source` parses.
    """
    table = symtable.symtable(source, "<cell>", "exec")
    defined = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    for scope in _scopes(table):
        # `global x` in a function defines x for the module.
        defined |= {s.get_name() for s in scope.get_symbols() if s.is_declared_global() and s.is_assigned()}
    read: set[str] = set()
    for scope in _scopes(table):
        for symbol in scope.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or scope is table):
                read.add(symbol.get_name())
    unknown = {
        name for name in read - defined - _MODULE_NAMES if not hasattr(builtins, name) and name in namespace
    }
    lines: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id in unknown:
            lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
    return sorted(lines.items(), key=lambda pair: pair[1])


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)


def with_cell_sources(pipeline: Pipeline, cells: Mapping[str, TaskCell]) -> Pipeline:
    """`pipeline` with the code of the cells that its Python tasks name; a cell wins over a module."""

    def with_source(task: Task) -> Task:
        if task.kind in ASKS_MODEL or task.source is not None:
            return task
        cell = cells.get(task.task or task.name)
        return task if cell is None else task.model_copy(update={"source": cell.source, "task": None})

    return pipeline.model_copy(update={"tasks": tuple(map(with_source, pipeline.tasks))})
