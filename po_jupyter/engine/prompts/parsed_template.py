"""Templates as they are parsed, with the names that they define themselves: found once for each text."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from jinja2 import nodes

from po_jupyter.engine.prompts.templates import ENVIRONMENT

_SHORT = 5_000  # characters of a template that is kept
_OF_JINJA = frozenset({"loop", "caller", "varargs", "kwargs"})


class ParsedTemplate(NamedTuple):
    """The tree of a template, which is only walked over. `local`: the names that it defines itself; `assigned`: those
    of them that are more than the name of a loop."""

    tree: nodes.Template
    local: frozenset[str]
    assigned: frozenset[str]


def parsed_template(text: str) -> ParsedTemplate:
    """The parsed text. Raises TemplateSyntaxError, also for a filter or a test that does not exist."""
    return _kept(text) if len(text) <= _SHORT else _parsed(text)


def names_in(node: nodes.Node) -> list[nodes.Name]:
    """Every name in `node`, which may be one itself."""
    return [node] if isinstance(node, nodes.Name) else list(node.find_all(nodes.Name))


def _parsed(text: str) -> ParsedTemplate:
    tree = ENVIRONMENT.parse(text)
    ENVIRONMENT.compile(tree)  # finds unknown filters and tests, which parsing does not
    tree = ENVIRONMENT.parse(text)  # compiling may fold constants into the tree
    stored = [name for name in tree.find_all(nodes.Name) if name.ctx != "load"]
    of_loops = {id(name) for loop in tree.find_all(nodes.For) for name in names_in(loop.target)}
    macros = {macro.name for macro in tree.find_all(nodes.Macro)}
    return ParsedTemplate(
        tree,
        frozenset({name.name for name in stored} | macros | _OF_JINJA),
        frozenset(name.name for name in stored if id(name) not in of_loops),
    )


_kept = lru_cache(maxsize=300)(_parsed)  # the same pipeline is submitted again and again
