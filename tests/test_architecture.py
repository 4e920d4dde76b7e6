"""The house keeps its shape: sizes of modules and folders, one meaning for a name, types where rooms meet."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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


@cache
def trees() -> dict[Path, ast.Module]:
    return {
        path: ast.parse(path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
        if "ui" not in path.relative_to(PACKAGE).parts
    }


def shown(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    yield from (a.annotation for a in every if a is not None and a.annotation is not None)
    if function.returns is not None:
        yield function.returns


def test_no_folder_is_a_hall() -> None:
    counts: dict[str, int] = defaultdict(int)
    for path in trees():
        counts[shown(path.parent)] += path.name != "__init__.py"
    assert {folder: n for folder, n in counts.items() if n > MAX_MODULES} == {}


def test_no_module_is_long() -> None:
    lengths = {shown(path): len(path.read_text().splitlines()) for path in trees()}
    assert {path: n for path, n in lengths.items() if n > MAX_LINES} == {}


def test_no_function_is_long() -> None:
    long = {
        f"{shown(path)}:{function.name}": n
        for path, tree in trees().items()
        for function in functions(tree)
        if (n := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION
    }
    assert long == {}


def test_every_room_says_what_it_is() -> None:
    rooms = [path for path in trees() if path.name == "__init__.py"]
    assert [shown(path) for path in rooms if not ast.get_docstring(trees()[path])] == []
    folders = {path.parent for path in trees()}
    assert [shown(folder) for folder in folders if folder / "__init__.py" not in trees()] == []


def test_a_class_name_has_one_meaning() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(shown(path))
    twice = {name: where for name, where in homes.items() if len(where) > 1 and name not in SHARED_NAMES}
    assert twice == {}


@pytest.mark.parametrize("pattern", SEAMS)
def test_where_rooms_meet_there_is_no_any(pattern: str) -> None:
    paths = sorted(PACKAGE.glob(pattern))
    assert paths, f"{pattern} has gone: name what has come in its place"
    found = [
        f"{shown(path)}:{function.lineno} {function.name}: {ast.unparse(annotation)}"
        for path in paths
        for function in functions(trees()[path])
        for annotation in annotations(function)
        if re.search(r"\bAny\b", ast.unparse(annotation))
    ]
    assert found == []


def test_free_json_is_rare_in_signatures() -> None:
    found = [
        f"{shown(path)}:{function.lineno} {function.name}"
        for path, tree in trees().items()
        for function in functions(tree)
        for annotation in annotations(function)
        if re.search(r"\b(dict|Mapping)\[str, Any\]", ast.unparse(annotation))
    ]
    assert len(found) <= MAX_FREE_JSON, found


def decisions(tree: ast.Module) -> int:
    return sum(isinstance(node, DECISIONS) for node in ast.walk(tree))


def file_of_tests(module: str) -> Path:
    path = Path(module)
    return TESTS / path.parent / f"test_{path.stem.strip('_')}.py"


def test_each_module_with_logic_has_the_test_file_of_its_name() -> None:
    """Whoever changes `store/keyed/run_log.py` looks for what protects it in `tests/store/keyed/test_run_log.py`."""
    modules = [
        shown(path) for path in trees() if path.name != "__init__.py" and decisions(trees()[path]) >= LOGIC
    ]
    # What tests and users' own suites use is exercised by all of them.
    missing = {m for m in modules if not m.startswith("testing/") and not file_of_tests(m).is_file()}
    assert missing == set()
