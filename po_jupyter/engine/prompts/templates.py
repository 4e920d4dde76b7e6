"""Templates of prompts and of `for_each`: sandboxed Jinja over JSON values.

A template is written by the author of the pipeline. What it is filled with (seeds, rows, answers of models) is
data, never a template (P6), and reaches nothing but the names below.

Names in a template: `seed` (the seed's data), `seed_name`, `tasks` (outputs of the tasks so far), `item` and
`index` (in a `for_each` task), `config` (the task's), `run` (`id`, `name`, `pipeline`, `version`, `attempt`);
in `refine.critique` also `output` and `violations`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from jinja2 import Template, TemplateSyntaxError, UndefinedError, nodes
from jinja2.environment import TemplateExpression
from jinja2.exceptions import SecurityError
from jinja2.runtime import Undefined

from po_jupyter.engine.prompts.render_meter import MAX_RENDERED, MAX_ROWS, RenderContext
from po_jupyter.engine.prompts.sandbox import make_sandbox
from po_jupyter.errors import PoError, TemplateFailed
from po_jupyter.model.values.json import JsonObject, JsonValue

_HYPHENS = 'A name with a hyphen is written tasks["deep-dive"].'
_FAILED = "A row of a map that failed has the output null: tasks.NAME | selectattr('ok') has the others."
_NO_ORDER = "What is missing is null, which has no order: `item.n is not none and item.n > 3`."
_EXPRESSIONS = {
    "for_each": 'For example for_each: "{{ seed.rows }}".',
    "when": 'For example when: "{{ output.confidence < 0.8 }}".',
    "expect": 'For example expect: "{{ item.gold }}".',
}
_PIECES = 10_000  # that are looked at together
_SHORT = 20_000  # characters of a template that is kept compiled
_LOOPING = frozenset(
    ["groupby", "map", "max", "min", "reject", "rejectattr", "select", "selectattr", "sort", "sum", "unique"]
)  # filters
_FEW = 50  # pieces that are joined without being looked at before

ENVIRONMENT = make_sandbox()
# What compiling raises beside TemplateSyntaxError: of Jinja's recursion, and of Python's own compiler.
_TWO_WORDS = re.compile(r"expected token 'end of print statement', got '\w+'")  # `item.Ticket ID`
TOO_DEEP = (RecursionError, MemoryError, OverflowError, SyntaxError)
GLOBALS: frozenset[str] = frozenset(ENVIRONMENT.globals)


class PromptTemplate:
    """A compiled template of one task. `field` is the field of the task: `prompt`, `system`, `refine.critique`.

    `is_costly`: it goes through rows for each row, so that a few thousand take seconds.
    """

    __slots__ = ("_few_pieces", "_root", "_template", "_text", "field", "is_costly", "task")

    def __init__(self, text: str, *, task: str, field: str = "prompt") -> None:
        """Compile `text`. Raises TemplateFailed."""
        self.task = task
        self.field = field
        self._text: str | None = None
        try:
            self._template: Template = _compiled(text)
        except TemplateSyntaxError as error:
            raise syntax_error(error, task, field) from None
        except TOO_DEEP:
            raise too_deep(task, field) from None
        self._root = self._template.root_render_func
        if not any(mark in text for mark in ("{{", "{%", "{#")):
            self._text = text
        self._few_pieces = "{%" not in text and text.count("{{") < _FEW
        self.is_costly = "{%" in text and _loops_in_loops(text)

    def render(self, names: Mapping[str, JsonValue]) -> str:
        """The text with `names` filled in; `names` holds what `template_names` gives. Raises TemplateFailed."""
        if self._text is not None:
            return self._text
        try:
            # Not by `new_context`, which lists Jinja's own names for each text: only an `import` looks at them.
            context = RenderContext(ENVIRONMENT, names, None, self._template.blocks)  # type: ignore[arg-type]  # Jinja takes no name, its stubs do not say so
            rendering = self._root(context)
            pieces = list(rendering) if self._few_pieces else _collected(rendering)
        except Exception as error:
            raise render_error(error, self.task, self.field, self._line(error)) from None
        text = "".join(pieces)
        if len(text) > MAX_RENDERED:
            raise TemplateFailed(
                f"task {self.task!r}: the {self.field} came out with more than {MAX_RENDERED:,} characters, "
                "which is the limit"
            )
        return text

    def _line(self, error: BaseException) -> int | None:
        """The line of the template where rendering stopped."""
        line, trace = None, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<template>":
                line = self._template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return line


def _compiled(text: str) -> Template:
    """The template of a text; runs of one pipeline that are worked off together share it."""
    return _compiled_short(text) if len(text) <= _SHORT else ENVIRONMENT.from_string(text)


@lru_cache(maxsize=1_000)
def _compiled_short(text: str) -> Template:
    return ENVIRONMENT.from_string(text)


@lru_cache(maxsize=1_000)
def _loops_in_loops(text: str) -> bool:
    tree = ENVIRONMENT.parse(text)
    for outer in tree.find_all((nodes.For, nodes.Macro)):
        if isinstance(outer, nodes.For) and outer.recursive:
            return True
        for inner in outer.find_all((nodes.For, nodes.Filter, nodes.Call)):
            if isinstance(inner, nodes.Call):
                # Of another macro, or of itself.
                costly = isinstance(outer, nodes.Macro) and isinstance(inner.node, nodes.Name)
            else:
                costly = not isinstance(inner, nodes.Filter) or inner.name in _LOOPING
            if costly:
                return True
    return False


def _collected(rendering: Iterable[str]) -> list[str]:
    """The pieces of a text, as far as it is not too long already."""
    rendering, pieces, size = iter(rendering), [], 0
    while size <= MAX_RENDERED and (more := list(islice(rendering, _PIECES))):
        size += sum(map(len, more))
        if size > MAX_RENDERED:
            raise SecurityError(f"a text of more than {MAX_RENDERED:,} characters")
        pieces += more
        if len(more) < _PIECES:
            break
    return pieces


class RowsExpression:
    """A compiled `for_each`, or another list: one expression, evaluated natively."""

    __slots__ = ("_expression", "field", "source", "task")

    def __init__(self, text: str, *, task: str, field: str = "for_each") -> None:
        """Compile the expression in `text`. Raises TemplateFailed."""
        self.task, self.field = task, field
        try:
            self.source = expression_of(text, task=task, field=field)
            self._expression: TemplateExpression = ENVIRONMENT.compile_expression(
                self.source, undefined_to_none=False
            )
        except TemplateSyntaxError as error:
            raise syntax_error(error, task, field) from None
        except TOO_DEEP:
            raise too_deep(task, field) from None

    def evaluate(self, names: Mapping[str, JsonValue]) -> Sequence[Any]:
        """The rows; those of a file or of an earlier map are not read yet. Raises TemplateFailed when the value is
        no list, naming what it is."""
        try:
            value = self._expression(**names)
            if isinstance(value, Undefined):
                str(value)  # raises, with the message of our undefined
            rows: Sequence[Any]
            if isinstance(value, Sequence) and not isinstance(value, str):
                rows = value
            elif isinstance(value, str | Mapping) or not isinstance(value, Iterable):
                raise TemplateFailed(
                    f"task {self.task!r}: {self.field} gives {_kind(value)}, and a list is needed",
                    hint=_rows_hint(value, self.source),
                )
            else:
                rows = list(islice(value, MAX_ROWS + 1))
            if type(rows) is list and any(isinstance(row, Iterator) for row in rows):
                # Of `| map("select")`: a row is looked at more than once.
                rows = [list(row) if isinstance(row, Iterator) else row for row in rows]
        except PoError:
            raise
        except Exception as error:
            raise render_error(error, self.task, self.field) from None
        if len(rows) > MAX_ROWS:
            raise TemplateFailed(f"task {self.task!r}: {self.field} gives more than {MAX_ROWS:,} rows")
        return rows


def evaluate_node(expression: nodes.Expr, names: Mapping[str, JsonValue]) -> Sequence[Any]:
    """The rows that a parsed expression gives. Raises what evaluating it raises, TypeError for no list."""
    body: list[nodes.Node] = [nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)]
    template = ENVIRONMENT.from_string(nodes.Template(body, lineno=1))
    value: Any = TemplateExpression(template, False)(**names)
    return value if isinstance(value, Sequence) else list(islice(value, MAX_ROWS + 1))


def template_names(**names: Any) -> JsonObject:
    """The names for `render` and `evaluate`: Jinja's own few and `names` over them. Copy it for each row."""
    return {**ENVIRONMENT.globals, **names}


def expression_of(text: str, *, task: str, field: str = "for_each") -> str:
    """The expression inside `{{ ... }}`, or `text` itself. Raises TemplateFailed for text around it,
    TemplateSyntaxError for what does not parse."""
    inner = text.strip()
    if inner.startswith("{{"):
        body = ENVIRONMENT.parse(inner).body
        alone = len(body) == 1 and isinstance(body[0], nodes.Output) and len(body[0].nodes) == 1
        inner = inner[2:-2].strip("-+").strip() if alone else ""
    if not inner or "{{" in inner or "{%" in inner:
        raise TemplateFailed(
            f"task {task!r}: {field} is one expression, and this is a text: {text!r:.80}",
            hint=_EXPRESSIONS.get(field if field == "for_each" else field.rpartition(".")[2], ""),
        )
    return inner


def braces_hint(error: TemplateSyntaxError) -> str:
    """The hint for braces that were meant as text: `{{"a": 1}}` is JSON to people; or for a name with a space."""
    message = error.message or ""
    if message.startswith(("No filter", "No test")):
        return ""
    if _TWO_WORDS.match(message):
        return 'A name with a space or a sign in it is written item["Ticket ID"].'
    return "Braces that are text stand between {% raw %} and {% endraw %}."


def too_deep(task: str, field: str) -> TemplateFailed:
    """The error of a template that neither Jinja nor Python compiles."""
    return TemplateFailed(
        f"task {task!r}: the {field} is nested too deeply, or one expression of it is too long",
        details={"task": task, "field": field},
    )


def syntax_error(error: TemplateSyntaxError, task: str, field: str) -> TemplateFailed:
    """The error of a template that does not parse."""
    message = (error.message or "not a template").rstrip(".")
    return TemplateFailed(
        f"task {task!r}: the {field} does not parse: line {error.lineno}: {message}",
        hint="" if field == "for_each" else braces_hint(error),
        details={"task": task, "field": field, "line": error.lineno},
    )


def render_error(error: Exception, task: str, field: str, line: int | None = None) -> TemplateFailed:
    """The error of a template that cannot be filled in, or an expression that has no value."""
    location = f"{field}, line {line}" if line else field
    hint = ""
    if isinstance(error, UndefinedError):
        reason = error.message or "undefined"
        if "there is no" in reason and field != "for_each":
            hint = _HYPHENS
        elif reason.startswith("null has no"):
            hint = _FAILED
    elif isinstance(error, SecurityError):
        reason = f"not allowed in a template: {error}"
    else:
        reason = f"{type(error).__name__}: {error}"[:300]
        if "not supported between" in reason and "'NoneType'" in reason:
            hint = _NO_ORDER
    return TemplateFailed(
        f"task {task!r}: {location}: {reason}", hint=hint, details={"task": task, "field": field, "line": line}
    )


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return f"text ({value!r:.40})"
    if isinstance(value, Mapping):
        return "a mapping"
    if value is None:
        return "null"
    return f"{value!r:.40}"


def _rows_hint(value: Any, source: str) -> str:
    if isinstance(value, Mapping):
        lists = [k for k, v in value.items() if isinstance(v, list)]
        if lists:
            return f"Did you mean {source}.{lists[0]}?"
        return f"For its pairs: {{{{ {source}.items() }}}}."
    return ""
