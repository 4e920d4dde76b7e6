"""The house keeps its shape: sizes of modules and folders, one meaning for a name, types where rooms meet."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.paths import ROOT, TESTS

PACKAGE = ROOT / "po_jupyter"
MAX_MODULES = 20  # in a folder
MAX_LINES = 400  # of a module
MAX_FUNCTION = 60  # lines of a function
MAX_FREE_JSON = 251  # signatures with `dict[str, Any]`: a third of the 754 of November 2026

# Where server, orchestrator, worker and engine meet: no `Any` in what these modules take and give.
SEAMS = (
    "server/routing/api.py", "server/routing/request.py", "server/routing/context.py", "server/routing/table.py",
    "server/actions/*.py", "server/sse/*.py", "server/lifecycle.py", "orchestrator/dispatch/*.py",
    "orchestrator/service.py", "ipc/*.py", "worker/*.py", "engine/ports.py", "engine/run/*.py",
)  # fmt: skip

# A module with so many decisions (branches, loops, comprehensions, `and` and `or`) has a test file of its name.
LOGIC = 6
DECISIONS = (
    ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.BoolOp,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip

# Names of the user's world that two rooms may share, each with its reason.
SHARED_NAMES: dict[str, str] = {}


class Function(NamedTuple):
    """A function or method; `annotations` are the texts of those of its arguments and of its result."""

    name: str
    line: int
    length: int
    annotations: tuple[str, ...]


class Module(NamedTuple):
    """What these tests look at in a module. Its tree is not kept: all of them are a million objects."""

    docstring: str | None
    lines: int
    classes: tuple[str, ...]
    functions: tuple[Function, ...]
    decisions: int


@cache
def modules() -> dict[Path, Module]:
    return {
        path: read_module(path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
        if not {"ui", "docs"} & set(path.relative_to(PACKAGE).parts)
    }


def read_module(text: str) -> Module:
    tree = ast.parse(text)
    functions, decisions = [], 0
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append(read_function(node))
        decisions += isinstance(node, DECISIONS)
    classes = tuple(node.name for node in tree.body if isinstance(node, ast.ClassDef))
    lines = len(text.splitlines())
    return Module(ast.get_docstring(tree), lines, classes, tuple(functions), decisions)


def read_function(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    annotations = [*(a.annotation for a in every if a is not None), function.returns]
    return Function(
        function.name,
        function.lineno,
        (function.end_lineno or 0) - function.lineno + 1,
        tuple(ast.unparse(annotation) for annotation in annotations if annotation is not None),
    )


def shown(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_no_folder_is_a_hall() -> None:
    counts: dict[str, int] = defaultdict(int)
    for path in modules():
        counts[shown(path.parent)] += path.name != "__init__.py"
    assert {folder: n for folder, n in counts.items() if n > MAX_MODULES} == {}


def test_no_module_is_long() -> None:
    lengths = {shown(path): module.lines for path, module in modules().items()}
    assert {path: n for path, n in lengths.items() if n > MAX_LINES} == {}


def test_no_function_is_long() -> None:
    long = {
        f"{shown(path)}:{function.name}": function.length
        for path, module in modules().items()
        for function in module.functions
        if function.length > MAX_FUNCTION
    }
    assert long == {}


def test_every_room_says_what_it_is() -> None:
    rooms = [path for path in modules() if path.name == "__init__.py"]
    assert [shown(path) for path in rooms if not modules()[path].docstring] == []
    folders = {path.parent for path in modules()}
    assert [shown(folder) for folder in folders if folder / "__init__.py" not in modules()] == []


def test_a_class_name_has_one_meaning() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path, module in modules().items():
        for name in module.classes:
            homes[name].append(shown(path))
    twice = {name: where for name, where in homes.items() if len(where) > 1 and name not in SHARED_NAMES}
    assert twice == {}


@pytest.mark.parametrize("pattern", SEAMS)
def test_where_rooms_meet_there_is_no_any(pattern: str) -> None:
    paths = sorted(PACKAGE.glob(pattern))
    assert paths, f"{pattern} has gone: name what has come in its place"
    found = [
        f"{shown(path)}:{function.line} {function.name}: {annotation}"
        for path in paths
        for function in modules()[path].functions
        for annotation in function.annotations
        if re.search(r"\bAny\b", annotation)
    ]
    assert found == []


def test_free_json_is_rare_in_signatures() -> None:
    found = [
        f"{shown(path)}:{function.line} {function.name}"
        for path, module in modules().items()
        for function in module.functions
        for annotation in function.annotations
        if re.search(r"\b(dict|Mapping)\[str, Any\]", annotation)
    ]
    assert len(found) <= MAX_FREE_JSON, found


def file_of_tests(module: str) -> Path:
    path = Path(module)
    return TESTS / path.parent / f"test_{path.stem.strip('_')}.py"


def test_each_module_with_logic_has_the_test_file_of_its_name() -> None:
    """Whoever changes `store/keyed/run_log.py` looks for what protects it in `tests/store/keyed/test_run_log.py`."""
    with_logic = [
        shown(path)
        for path, module in modules().items()
        if path.name != "__init__.py" and module.decisions >= LOGIC
    ]
    # What tests and users' own suites use is exercised by all of them.
    missing = {m for m in with_logic if not m.startswith("testing/") and not file_of_tests(m).is_file()}
    assert missing == set()
