"""The parser of pipelines, from YAML or JSON text or decoded JSON: every violation at once, each with its line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from po_jupyter.errors import InvalidPipeline, Violation
from po_jupyter.model.pipeline.output_field import RECORDED
from po_jupyter.model.pipeline.pipeline import (
    LLM,
    CascadeStep,
    Pipeline,
)
from po_jupyter.model.pipeline.violations import Position, dotted, first_errors, shown_place, violations_of
from po_jupyter.model.values.json import JsonObject

# A worker reads no YAML, and need not carry what does.
if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import Node

Location = tuple[int | str, ...]
Mark = tuple[int, int]
_MAX_TEXT = 2_000_000  # characters; the largest hand-written pipelines are a hundredth of it
_MAX_DEPTH = 50
_SCALARS = frozenset({"str", "int", "float", "bool", "null", "timestamp"})

_ONE_OF = {
    "tasks": "a task",
    "score": "a score",
    "prompt": "a message",
    "variants": "a variant",
}  # else the name itself


def parse_pipeline(text: str, *, name: str | None = None) -> Pipeline:
    """The pipeline that YAML (or JSON) text describes.

    `name` is the name given outside of the text (the cell's NAME); another `name:` inside is an error.
    Raises InvalidPipeline whose violations carry 1-based lines and columns of `text`.
    """
    data, marks = load_marked(text)
    return _build(data, name, marks)


def validate_pipeline(value: object, *, name: str | None = None, recorded: bool = False) -> Pipeline:
    """The pipeline that decoded JSON describes. Raises InvalidPipeline.

    `recorded`: it stands in a run's definition, so its code and schemas were checked when the run was submitted.
    A worker does not parse it once more, which costs it memory that it shares with all others until then.
    """
    if isinstance(value, Pipeline):
        return value
    return _build(value, name, {}, recorded=recorded)


def line_finder(text: str) -> Callable[[Violation], int | None]:
    """A function that finds the line in `text` of a violation that was found later, in the decoded pipeline.

    It takes a violation whose `where` is a path (`tasks[1].prompt`, `tasks.label.prompt`) and whose
    `line`, if any, counts within the text at that path; it returns a 1-based line of `text`, or None.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.nodes import ScalarNode

    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except YAMLError:
        root = None

    def find(violation: Violation) -> int | None:
        node, line, block = root, None, ""
        for part in re.findall(r"[^.\[\]]+", violation.where):
            step = _step(node, part)
            if step is None:
                break
            line, node = step
            block = node.style or "" if isinstance(node, ScalarNode) else ""
        if line is None or violation.line is None or not isinstance(node, ScalarNode):
            return line
        # `|` keeps the lines and starts below its key; the other styles join lines.
        return line + violation.line if block == "|" else line

    return find


def _step(node: Node | None, part: str) -> tuple[int, Node] | None:
    """The line of the entry `part` of `node`, and its value."""
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    elif isinstance(node, SequenceNode):
        for i, entry in enumerate(node.value):
            name = _step(entry, "name") if isinstance(entry, MappingNode) else (0, entry)
            if part == str(i) or (name is not None and name[1].value == part):
                return entry.start_mark.line + 1, entry
    return None


def _build(
    data: object, name: str | None, marks: Mapping[Location, Mark], *, recorded: bool = False
) -> Pipeline:
    if data is None:
        raise InvalidPipeline(
            "the pipeline is empty",
            hint='Start with a list of tasks:\ntasks:\n  - name: hello\n    prompt: "Say hello"',
        )
    if not isinstance(data, Mapping):
        raise InvalidPipeline(f"a pipeline is a mapping with `tasks`, not {_kind(data)}")
    violations: list[Violation] = []
    if name is not None:
        inside = data.get("name")
        if inside is not None and inside != name:
            message = f"the pipeline is called {name!r} outside and {inside!r} in its text"
            violations.append(Violation("name", message, *marks.get(("name",), (None, None))))
        data = {**data, "name": name}

    def mark_of(loc: Location) -> Position:
        while loc and loc not in marks:
            loc = loc[:-1]
        return marks.get(loc, (None, None))

    try:
        pipeline = Pipeline.model_validate(data, context={RECORDED: recorded})
    except ValidationError as error:
        violations += _violations_in(error, data, marks, mark_of)
        violations.sort(key=lambda v: v.line or 0)
        raise InvalidPipeline(violations=violations) from None
    if violations:
        raise InvalidPipeline(violations=violations)
    return pipeline


def _violations_in(
    error: ValidationError,
    data: Mapping[str, Any],
    marks: Mapping[Location, Mark],
    mark_of: Callable[[Location], Position],
) -> Iterator[Violation]:
    """The violations of a pipeline, the first of many."""
    listed = violations_of(error, known=known_fields, position=mark_of)
    for violation, item in zip_longest(listed, first_errors(error)):
        if item is None:  # how many more there are
            yield violation
            continue
        if item["type"] == "value_error" and violation.line is not None:
            place = dotted(shown_place(item["loc"], item["type"]))
            violation = violation._replace(message=violation.message.removeprefix(f"{place}: "))
        yield _nearer(violation, data, marks)


def _nearer(violation: Violation, data: Mapping[str, Any], marks: Mapping[Location, Mark]) -> Violation:
    """The violation at the task it names: duplicates and needs are found of the whole pipeline, and point at the last
    entry of that name."""
    if violation.where:
        return violation
    tasks = data.get("tasks")
    for i in reversed(range(len(tasks) if isinstance(tasks, list) else 0)):
        assert isinstance(tasks, list)
        entry = tasks[i]
        task = entry.get("name") if isinstance(entry, Mapping) else entry
        if isinstance(task, str) and (f"{task!r}" in violation.message or f" {task} →" in violation.message):
            line, column = marks.get(("tasks", i), (None, None))
            return violation._replace(where=f"tasks[{i}]", line=line, column=column)
    line, column = marks.get((), (None, None))
    return violation._replace(line=line, column=column)


def known_fields(loc: Location) -> tuple[list[str], str]:
    """The legal fields at a location, and the name of what they are fields of."""
    model: type[BaseModel] = Pipeline
    name = "a pipeline"
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            model = next(_models_in(model.model_fields[part].annotation), model)
            name = _ONE_OF.get(part, part)
        elif model is LLM:  # a list in the place of one
            model, name = CascadeStep, "a model of llm"
    return list(model.model_fields), name


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


# -- text to plain values with places -----------------------------------------------------------------


def load_marked(text: str) -> tuple[Any, dict[Location, Mark]]:
    """What YAML text holds, as JSON has it, and the line and column of each part of it, from 1. Raises InvalidPipeline
    with the place."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    from po_jupyter.model.pipeline.yaml_comments import cut_texts

    if len(text) > _MAX_TEXT:
        raise InvalidPipeline(f"the text has {len(text):,} characters; a pipeline may have {_MAX_TEXT:,}")
    yaml = YAML(typ="safe", pure=True)  # YAML 1.2: `no` and `on` stay words
    yaml.composer.warn_double_anchors = False  # one is an error below
    marks: dict[Location, Mark] = {}
    try:
        root = yaml.compose(text)
        if root is None:
            return None, marks
        if cut := list(cut_texts(root, text)):
            raise InvalidPipeline(violations=cut)
        return _value(root, (), marks, yaml), marks
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
        problem = str(error.problem or error.context or "not YAML").split("\n")[0]
        raise InvalidPipeline(
            violations=[Violation("", f"not valid YAML: {problem}", line, column)],
            hint="Indent with spaces, and quote text that holds `: ` or ` #`, or begins with one of { [ * & @.",
        ) from None
    except RecursionError:
        raise InvalidPipeline(f"nested deeper than {_MAX_DEPTH} levels") from None
    except YAMLError as error:
        raise InvalidPipeline(f"not valid YAML: {str(error).splitlines()[0]}") from None


def _value(node: Node, loc: Location, marks: dict[Location, Mark], yaml: YAML) -> Any:
    from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

    marks.setdefault(loc, (node.start_mark.line + 1, node.start_mark.column + 1))
    if len(loc) > _MAX_DEPTH:
        raise _at(node, f"nested deeper than {_MAX_DEPTH} levels")
    if node.anchor is not None:
        # An alias can repeat a node; a handful of them can stand for gigabytes.
        raise _at(node, "anchors and aliases (`&`, `*`) are not read here")
    if isinstance(node, MappingNode):
        result: JsonObject = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if isinstance(key_node, MappingNode):
                raise _at(key_node, 'a template in YAML stands in quotes: "{{ ... }}"')
            if key is None or key_node.tag.endswith(":merge"):
                raise _at(key_node, "a key here is a plain word")
            if key in result:
                raise _at(key_node, f"`{key}` stands here twice")
            marks[(*loc, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            result[key] = _value(value_node, (*loc, key), marks, yaml)
        return result
    if isinstance(node, SequenceNode):
        return [_value(child, (*loc, i), marks, yaml) for i, child in enumerate(node.value)]
    return _scalar(node, yaml)


def _scalar(node: Node, yaml: YAML) -> Any:
    tag = str(node.tag).rpartition(":")[2]
    if not str(node.tag).startswith("tag:yaml.org,2002:") or tag not in _SCALARS:
        raise _at(node, f"the tag {node.tag} is not read here")
    if tag in ("str", "timestamp"):
        return str(node.value)
    try:
        value = yaml.constructor.construct_object(node, deep=True)
    except ValueError:  # more digits than Python turns into an int
        raise _at(node, f"{node.value[:20]}... is not a number that can be read") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise _at(node, f"{node.value} is not a number that JSON knows")
    return value


def _at(node: Node, message: str) -> InvalidPipeline:
    mark = node.start_mark
    return InvalidPipeline(violations=[Violation("", message, mark.line + 1, mark.column + 1)])


def _kind(value: object) -> str:
    return {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}.get(
        type(value), type(value).__name__
    )
