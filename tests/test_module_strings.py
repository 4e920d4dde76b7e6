"""Modules that are named in strings exist: a move that forgets one would only show at run time, or only as slowness."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import po_jupyter
from po_jupyter.cli.main import VERBS
from po_jupyter.orchestrator.workers import zygote_pool
from po_jupyter.worker import zygote

PACKAGE = Path(po_jupyter.__file__).parent
NAME = re.compile(r"po_jupyter(\.\w+)+(:\w+)?")  # a module, a thing in it, or `module:thing`
GROUPS = {"po_jupyter.providers", "po_jupyter.scorers", "po_jupyter.tasks"}  # entry-point groups


def names_in(source: str) -> Iterator[str]:
    """The strings of a module that name one of ours. Names of loggers are no names of modules."""
    tree = ast.parse(source)
    loggers = {
        id(argument)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(("get_logger", "getLogger"))
        for argument in call.args
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in loggers:
            continue
        if NAME.fullmatch(node.value) and node.value not in GROUPS:
            yield node.value


def exists(name: str) -> bool:
    """Is there a module, or a thing in a module, of this name?"""
    module, colon, thing = name.partition(":")
    if not colon:
        with suppress(ModuleNotFoundError):  # its parent is a module, or there is none
            if importlib.util.find_spec(module) is not None:
                return True
        module, _, thing = module.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), thing)
    except ModuleNotFoundError:
        return False


NAMED = {
    name: str(path.relative_to(PACKAGE))
    for path in sorted(PACKAGE.rglob("*.py"))
    if "node_modules" not in path.parts
    for name in names_in(path.read_text("utf-8"))
}


@pytest.mark.parametrize("name", sorted(NAMED))
def test_each_module_that_a_string_names_exists(name: str) -> None:
    assert exists(name), f"{NAMED[name]} names {name}"


def test_a_moved_module_would_be_seen() -> None:
    source = 'import_module("po_jupyter.moved")\nlog = structlog.get_logger("po_jupyter.limits")\n'
    assert list(names_in(source)) == ["po_jupyter.moved"]
    assert not exists("po_jupyter.moved")
    assert not exists("po_jupyter.errors:moved")
    assert {
        "po_jupyter.server",
        "po_jupyter.worker.main",
        zygote_pool.MODULE,
        zygote_pool.FORMER_MODULE,
    } <= set(NAMED)


@pytest.mark.parametrize("name", zygote.PRELOAD)
def test_what_a_zygote_preloads_exists(name: str) -> None:
    """A missing one would make every worker slower, or now: end the zygote."""
    importlib.import_module(name)


def test_public_names_are_at_home_where_the_package_looks() -> None:
    for name, module in po_jupyter._HOMES.items():
        assert hasattr(importlib.import_module(f"po_jupyter.{module}"), name), f"{name} in {module}"


def test_each_verb_of_the_terminal_has_its_module() -> None:
    for verb, (module, _) in VERBS.items():
        assert hasattr(importlib.import_module(f"po_jupyter.cli.verbs.{module}"), verb), verb
