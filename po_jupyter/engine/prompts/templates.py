"""Templates of prompts and of `for_each`: sandboxed Jinja over JSON values.

A template is written by the author of the pipeline. What it is filled with (seeds, rows, answers of models) is
data, never a template (P6), and reaches nothing but the names below.

Names in a template: `seed` (the seed's data), `seed_name`, `tasks` (outputs of the tasks so far), `item` and
`index` (in a `for_each` task), `config` (the task's), `run` (`id`, `name`, `pipeline`, `version`, `attempt`);
in `refine.critique` also `output` and `violations`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import wraps
from itertools import islice
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, UndefinedError, nodes, pass_eval_context
from jinja2.environment import TemplateExpression
from jinja2.exceptions import SecurityError
from jinja2.runtime import Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from po_jupyter.errors import PoError, TemplateFailed
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.json import JsonObject, JsonValue

MAX_RENDERED = 10_000_000  # characters; ten times the longest context window sold
MAX_ROWS = 5_000_000
_MAX_REPEAT = 1_000_000
_WIDE = re.compile(r"(?<!\d)\d{7,}\$?[a-zA-Z}]")  # a field width in a format that would fill the memory
_TEXT_FILTERS = (
    "upper", "lower", "capitalize", "title", "trim", "replace", "center", "indent", "wordwrap", "truncate", "striptags",
    "wordcount", "urlize", "escape", "e", "forceescape", "safe",
)  # fmt: skip
_HYPHENS = 'A name with a hyphen is written tasks["deep-dive"].'


class _Strict(StrictUndefined):
    """An undefined name; its message lists the names that exist."""

    @property
    def _undefined_message(self) -> str:
        name, owner = self._undefined_name, self._undefined_obj
        if self._undefined_hint:
            return self._undefined_hint
        if isinstance(owner, Mapping):
            keys = [k for k in owner if isinstance(k, str)]
            key_list = ", ".join(keys[:8]) + (", ..." if len(keys) > 8 else "")
            has = f"it has {key_list}" if keys else "it is empty"
            return f"there is no {name!r} here ({has}){did_you_mean(str(name), keys)}"
        if owner is None or isinstance(owner, str | int | float | list):
            kind = {str: "text", list: "a list", type(None): "null"}.get(type(owner), "a number")
            return f"{kind} has no {name!r}"
        return f"{name!r} is not defined"

    __slots__ = ()


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, where a mapping's keys win over its methods and nothing grows without a bound."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping):
            try:
                return obj[argument]
            except (KeyError, TypeError):
                return self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)

    def _generate(self, source: nodes.Template, *args: Any, **keywords: Any) -> str:
        """The Python of a template, in which `~` joins what `{{ }}` would print."""
        for concat in source.find_all(nodes.Concat):
            concat.nodes = [
                nodes.Filter(node, "string", [], [], None, None, lineno=node.lineno) for node in concat.nodes
            ]
        return super()._generate(source, *args, **keywords)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and (abs(left) > 1_000_000 or abs(right) > 100):
            raise SecurityError("this power is too large for a template")
        if operator == "*":
            for text, count in ((left, right), (right, left)):
                if isinstance(text, str | list | tuple) and len(text) * int(count) > _MAX_REPEAT:
                    raise SecurityError("this repetition is too long for a template")
        if operator == "%" and isinstance(left, str):
            if _WIDE.search(left):
                raise SecurityError("this width is too large for a template")
            right = _inserted(right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        # The sandbox hands out `str.format` wrapped; the text is behind the wrapper.
        owner = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)
        if isinstance(owner, str) or getattr(obj, "__name__", "") in ("format", "format_map"):
            args, kwargs = tuple(map(_flat, args)), {name: _flat(value) for name, value in kwargs.items()}
            wide = any(isinstance(a, int) and a > _MAX_REPEAT for a in args)
            if wide or any(isinstance(t, str) and _WIDE.search(t) for t in (owner, *args)):
                raise SecurityError("this width is too large for a template")
        return super().call(context, obj, *args, **kwargs)


def _shown(value: Any) -> Any:
    """The text of `{{ value }}`: text as it is, everything else as JSON."""
    if isinstance(value, str | Undefined):
        return value
    return _to_json(value)


def _to_json(value: Any, indent: int | None = None) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent)
    except (TypeError, ValueError):
        # `seed.items()`, `rows | map(...)`: not JSON, but lists in all but name.
        return _to_json(list(value), indent) if isinstance(value, Iterable) else str(value)


def _text(value: Any) -> str:
    """The text that `{{ value }}` prints: `~` and the filters that make text of a value say the same."""
    return str(_shown(value))


def _inserted(value: Any) -> Any:
    """The arguments of `%` and `format`: numbers and texts as they are, for their formats, the rest as printed."""
    if isinstance(value, tuple):
        return tuple(map(_inserted, value))
    if isinstance(value, Mapping):
        return {key: _inserted(inner) for key, inner in value.items()}
    return _shown(value) if value is None or isinstance(value, bool | list) else value


def _flat(value: Any) -> Any:
    """An argument of `format`, whose fields may name parts of objects and lists: those stay what they are."""
    return _shown(value) if value is None or isinstance(value, bool) else value


def _on_text(method: Any) -> Any:
    """A filter for text, of a value as it is printed."""
    position = 1 if hasattr(method, "jinja_pass_arg") else 0

    @wraps(method)
    def on_text(*args: Any, **keywords: Any) -> Any:
        return method(*args[:position], _text(args[position]), *args[position + 1 :], **keywords)

    return on_text


def _bounded(method: Any) -> Any:
    """A text filter with a bounded width: `center` could fill the memory otherwise."""

    def bounded(value: Any, width: int = 80, *rest: Any, **keywords: Any) -> Any:
        if width > _MAX_REPEAT:
            raise SecurityError("this width is too large for a template")
        return method(value, width, *rest, **keywords)

    return bounded


@pass_eval_context
def _join(eval_ctx: Any, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    from jinja2.filters import sync_do_join

    if attribute is not None:
        return sync_do_join(eval_ctx, value, d, attribute)
    return str(d).join(str(_shown(v)) for v in value)


def _environment() -> _Sandbox:
    env = _Sandbox(undefined=_Strict, finalize=_shown, keep_trailing_newline=True, cache_size=0)
    env.globals.pop("lipsum", None)
    # HTML escapes, as Jinja's own has them, would only confuse a model.
    env.filters["tojson"] = _to_json
    env.filters["join"] = _join
    env.filters["string"] = _text
    for name in _TEXT_FILTERS:
        env.filters[name] = _on_text(env.filters[name])
    quoted = env.filters["urlencode"]
    env.filters["urlencode"] = lambda value: quoted(
        _inserted(value) if isinstance(value, Mapping) else _flat(value)
    )
    form = env.filters["format"]
    env.filters["format"] = lambda value, *args, **keywords: form(
        value, *_inserted(args), **_inserted(keywords)
    )
    env.filters["center"] = _bounded(env.filters["center"])
    env.filters["indent"] = _bounded(env.filters["indent"])
    return env


ENVIRONMENT = _environment()
GLOBALS: frozenset[str] = frozenset(ENVIRONMENT.globals)


class PromptTemplate:
    """A compiled template of one task. `field` is the field of the task: `prompt`, `system`, `refine.critique`."""

    __slots__ = ("_root", "_template", "_text", "field", "task")

    def __init__(self, text: str, *, task: str, field: str = "prompt") -> None:
        """Compile `text`. Raises TemplateFailed."""
        self.task = task
        self.field = field
        self._text: str | None = None
        try:
            self._template: Template = ENVIRONMENT.from_string(text)
        except TemplateSyntaxError as error:
            raise _syntax_error(error, task, field) from None
        self._root = self._template.root_render_func
        if not any(mark in text for mark in ("{{", "{%", "{#")):
            self._text = text

    def render(self, names: Mapping[str, JsonValue]) -> str:
        """The text with `names` filled in; `names` holds what `template_names` gives. Raises TemplateFailed."""
        if self._text is not None:
            return self._text
        try:
            context = self._template.new_context(names, shared=True)  # type: ignore[arg-type]  # it is only read
            pieces = list(self._root(context))
            text = "".join(pieces)
        except Exception as error:
            raise _render_error(error, self.task, self.field, self._line(error)) from None
        if len(text) > MAX_RENDERED:
            raise TemplateFailed(
                f"task {self.task!r}: the {self.field} came out with {len(text):,} characters; "
                f"the limit is {MAX_RENDERED:,}"
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


class RowsExpression:
    """A compiled `for_each`: one expression, evaluated natively."""

    __slots__ = ("_expression", "source", "task")

    def __init__(self, text: str, *, task: str) -> None:
        """Compile the expression in `text`. Raises TemplateFailed."""
        self.task = task
        try:
            self.source = expression_of(text, task=task)
            self._expression: TemplateExpression = ENVIRONMENT.compile_expression(
                self.source, undefined_to_none=False
            )
        except TemplateSyntaxError as error:
            raise _syntax_error(error, task, "for_each") from None

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
                    f"task {self.task!r}: for_each gives {_kind(value)}, and a list is needed",
                    hint=_rows_hint(value, self.source),
                )
            else:
                rows = list(islice(value, MAX_ROWS + 1))
        except PoError:
            raise
        except Exception as error:
            raise _render_error(error, self.task, "for_each") from None
        if len(rows) > MAX_ROWS:
            raise TemplateFailed(f"task {self.task!r}: for_each gives more than {MAX_ROWS:,} rows")
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


def expression_of(text: str, *, task: str) -> str:
    """The expression inside `{{ ... }}`, or `text` itself. Raises TemplateFailed for text around it,
    TemplateSyntaxError for what does not parse."""
    inner = text.strip()
    if inner.startswith("{{"):
        body = ENVIRONMENT.parse(inner).body
        alone = len(body) == 1 and isinstance(body[0], nodes.Output) and len(body[0].nodes) == 1
        inner = inner[2:-2].strip("-+").strip() if alone else ""
    if not inner or "{{" in inner or "{%" in inner:
        raise TemplateFailed(
            f"task {task!r}: for_each is one expression, and this is a text: {text!r:.80}",
            hint='For example for_each: "{{ seed.rows }}".',
        )
    return inner


def braces_hint(error: TemplateSyntaxError) -> str:
    """The hint for braces that were meant as text: `{{"a": 1}}` is JSON to people."""
    if (error.message or "").startswith(("No filter", "No test")):
        return ""
    return "Braces that are text stand between {% raw %} and {% endraw %}."


def _syntax_error(error: TemplateSyntaxError, task: str, field: str) -> TemplateFailed:
    message = (error.message or "not a template").rstrip(".")
    return TemplateFailed(
        f"task {task!r}: the {field} does not parse: line {error.lineno}: {message}",
        hint="" if field == "for_each" else braces_hint(error),
        details={"task": task, "field": field, "line": error.lineno},
    )


def _render_error(error: Exception, task: str, field: str, line: int | None = None) -> TemplateFailed:
    location = f"{field}, line {line}" if line else field
    hint = ""
    if isinstance(error, UndefinedError):
        reason = error.message or "undefined"
        if "there is no" in reason and field != "for_each":
            hint = _HYPHENS
    elif isinstance(error, SecurityError):
        reason = f"not allowed in a template: {error}"
    else:
        reason = f"{type(error).__name__}: {error}"[:300]
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
