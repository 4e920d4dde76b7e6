"""Values as templates print them: text as it is, everything else as JSON, the same in `{{ }}`, `~` and filters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Undefined
from jinja2.utils import Namespace

from po_jupyter.engine.prompts.render_meter import RenderContext, check_size

_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


@pass_context
def shown(context: RenderContext, value: Any) -> Any:
    """The text of `{{ value }}`; an undefined value is handed on, and raises where it is used."""
    if isinstance(value, str | Undefined):
        return value
    if type(value) is int:
        return str(value)
    if (context.meter or context).has_built:
        check_size(value)
    try:
        text = _ENCODE(value)
    except (TypeError, ValueError):
        text = _dumped(value, None)
    context.count(len(text))
    return text


@pass_context
def to_json(context: RenderContext, value: Any, indent: int | str | None = None) -> str:
    """The filter `tojson`. HTML escapes, as Jinja's own has them, would only confuse a model."""
    if (context.meter or context).has_built:
        check_size(value)
    if isinstance(indent, int):
        indent = min(indent, 100)
    elif isinstance(indent, str):
        indent = len(indent[:100]) or None
    text = _dumped(value, indent)
    context.count(len(text))
    return text


def _dumped(value: Any, indent: int | None) -> str:
    if isinstance(value, Namespace):
        return "<namespace>"
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent, default=_plain)
    except (TypeError, ValueError):
        return str(value)


def _plain(value: Any) -> Any:
    """What is printed of a part that JSON does not have. Raises UndefinedError for one that is not there."""
    # `seed.items()`, `rows | map(...)`: not JSON, but lists in all but name.
    return list(value) if isinstance(value, Iterable) and not isinstance(value, Undefined) else str(value)


@pass_context
def text_of(context: RenderContext, value: Any) -> str:
    """The text that `{{ value }}` prints: `~` and the filters that make text of a value say the same."""
    return value if type(value) is str else str(shown(context, value))


def inserted(context: RenderContext, value: Any) -> Any:
    """An argument of a format with `%`: numbers and texts as they are, for their formats, the rest as printed."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    return shown(context, value)


def inserted_in(context: RenderContext, text: str, values: Any) -> Any:
    """What stands right of `text %`: arguments in a tuple or, where `text` names them, in a mapping; else the one."""
    if isinstance(values, tuple):
        check_size(values)
        return tuple([inserted(context, value) for value in values])
    if isinstance(values, Mapping) and "%(" in text:
        return named(context, values)
    return inserted(context, values)


def named(context: RenderContext, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments by name, each as a format with `%` takes it."""
    check_size(values)
    return {name: inserted(context, value) for name, value in values.items()}


def flat(context: RenderContext, value: Any) -> Any:
    """An argument of `format`, whose fields may name parts of objects and lists: those stay what they are."""
    return shown(context, value) if value is None or isinstance(value, bool) else value
