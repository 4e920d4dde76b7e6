"""Texts of a pipeline that a `#` cuts off: outside of quotes a YAML comment begins there, and the rest is no text."""

from __future__ import annotations

from collections.abc import Iterator

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from po_jupyter.errors import Violation

_TEXTS = frozenset({"system", "prompt", "embed", "content", "critique", "message"})
_INSIDE = frozenset({"prompt", "refine", "gate"})  # fields of a task with texts in them
_QUOTE = 'put it in quotes, or below a `|`: prompt: "Ticket #1"; a comment goes into a line of its own'


def cut_texts(root: Node, text: str) -> Iterator[Violation]:
    """The texts of tasks in a YAML document behind which a comment begins in the same line."""
    lines = text.splitlines()
    for i, task in enumerate(_entries(_field(root, "tasks"))):
        yield from _cut(task, f"tasks[{i}]", lines)


def _cut(node: Node, path: str, lines: list[str]) -> Iterator[Violation]:
    for i, entry in enumerate(_entries(node)):
        yield from _cut(entry, f"{path}[{i}]", lines)
    for key, value in _fields(node):
        name = str(key.value)
        if name in _TEXTS and isinstance(value, ScalarNode):
            if (at := _comment_behind(key, value, lines)) is not None:
                message = f"`{name}` ends at a `#`, where a comment begins in YAML; {_QUOTE}"
                yield Violation(f"{path}.{name}", message, *at)
        elif name in _INSIDE:
            yield from _cut(value, f"{path}.{name}", lines)


def _comment_behind(key: ScalarNode, value: ScalarNode, lines: list[str]) -> tuple[int, int] | None:
    """Line and column of the comment behind a text without quotes, or in its place."""
    mark = value.end_mark if value.value else key.end_mark
    rest = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
    text = rest.lstrip() if value.value else rest.lstrip().removeprefix(":").lstrip()
    if value.style is not None or not text.startswith("#"):
        return None
    return mark.line + 1, mark.column + 1 + len(rest) - len(text)


def _fields(node: Node | None) -> list[tuple[ScalarNode, Node]]:
    if not isinstance(node, MappingNode):
        return []
    return [(key, value) for key, value in node.value if isinstance(key, ScalarNode)]


def _field(node: Node, name: str) -> Node | None:
    return next((value for key, value in _fields(node) if key.value == name), None)


def _entries(node: Node | None) -> list[Node]:
    return list(node.value) if isinstance(node, SequenceNode) else []
