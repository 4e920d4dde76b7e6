"""The sandbox of templates: Jinja's own, with allow-lists of attributes and filters, in which nothing grows unseen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext, Macro, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Cycler, Joiner, Namespace
from markupsafe import EscapeFormatter, Markup

from po_jupyter.engine.prompts.printed_values import flat, inserted_in, shown
from po_jupyter.engine.prompts.render_meter import MAX_RENDERED, RenderContext, TextBuffer, check_size
from po_jupyter.engine.prompts.template_filters import (
    filters,
    joined,
    padded,
    parted,
    percent_size,
    replaced,
    tabbed,
)
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.lazy_list import LazyList

_MAX_BITS = 20_000  # of a whole number: more than Python prints the digits of
_LISTS = (list, tuple, LazyList)
_DIGITS = re.compile(r"\d+")

_TEXT = frozenset(
    [
        "capitalize",
        "casefold",
        "center",
        "count",
        "endswith",
        "expandtabs",
        "find",
        "format",
        "format_map",
        "index",
        "isalnum",
        "isalpha",
        "isascii",
        "isdecimal",
        "isdigit",
        "isidentifier",
        "islower",
        "isnumeric",
        "isprintable",
        "isspace",
        "istitle",
        "isupper",
        "join",
        "ljust",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "replace",
        "rfind",
        "rindex",
        "rjust",
        "rpartition",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "swapcase",
        "title",
        "upper",
        "zfill",
    ]
)
_NUMBER = frozenset(
    ["as_integer_ratio", "bit_count", "bit_length", "denominator", "imag", "is_integer", "numerator", "real"]
)
# The attributes of each kind of value. Those of a Namespace are its author's.
_ATTRIBUTES: tuple[tuple[type | tuple[type, ...], frozenset[str]], ...] = (
    (str, _TEXT),
    (Mapping, frozenset({"copy", "get", "items", "keys", "values"})),
    (_LISTS, frozenset({"copy", "count", "grouper", "index", "list"})),  # `groupby` gives tuples with names
    ((int, float), _NUMBER),
    (range, frozenset({"count", "index", "start", "step", "stop"})),
    (
        LoopContext,
        frozenset(
            [
                "changed",
                "cycle",
                "depth",
                "depth0",
                "first",
                "index",
                "index0",
                "last",
                "length",
                "nextitem",
                "previtem",
                "revindex",
                "revindex0",
            ]
        ),
    ),
    (Macro, frozenset({"arguments", "caller", "catch_kwargs", "catch_varargs", "name"})),
    (Cycler, frozenset({"current", "next", "reset"})),
    (Joiner, frozenset({"sep", "used"})),
)
_TEXT_CALLS: Mapping[str, Callable[..., None]] = {
    "center": padded, "ljust": padded, "rjust": padded, "zfill": padded, "expandtabs": tabbed, "replace": replaced,
    "split": parted, "rsplit": parted,
    "splitlines": lambda context, text, *_, **__: parted(context, text, "\n"),
}  # fmt: skip


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


class _Generator(CodeGenerator):
    """The Python of a template, in which what makes texts and containers is counted."""

    # The names are Jinja's: it visits each kind of node by a method of its own.
    # ruff: noqa: D102

    def buffer(self, frame: Frame) -> None:
        frame.buffer = self.temporary_identifier()
        self.writeline(f"{frame.buffer} = environment.buffer(context)")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.concat_values(context, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("context.made(")
        super().visit_Getitem(node, frame)
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self._built(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self._built(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx == "load":
            self._built(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def _built(self, visit: Callable[[Any, Frame], None], node: nodes.Literal, frame: Frame) -> None:
        self.write("context.literal(")
        visit(node, frame)
        self.write(")")


class _Formatter(SandboxedFormatter):
    """`str.format` with bounded widths, of values as they are printed."""

    _size = 0

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion is not None:
            check_size(value)
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> Any:
        self._size += sum(int(digits[:10]) for digits in _DIGITS.findall(format_spec))
        if self._size > MAX_RENDERED:
            raise SecurityError("this width is too large for a template")
        check_size(value)
        return super().format_field(value, format_spec)


class _EscapeFormatter(_Formatter, EscapeFormatter):
    """The same for text that is marked as safe."""


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, where a mapping's keys win over its methods and nothing grows without a bound."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    code_generator_class = _Generator
    context_class = RenderContext
    buffer = TextBuffer

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping):
            try:
                return obj[argument]
            except (KeyError, TypeError):
                # Keys of JSON are text: the column 0 of a frame is "0" here.
                if type(argument) is int and (name := str(argument)) in obj:
                    return obj[name]
                return self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if not super().is_safe_attribute(obj, attr, value):
            return False
        if isinstance(obj, Namespace):
            return True
        return any(isinstance(obj, kind) and attr in names for kind, names in _ATTRIBUTES)

    def wrap_str_format(self, value: Any) -> Any:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        text: str = value.__self__
        formatter = _EscapeFormatter(self, escape=text.escape) if isinstance(text, Markup) else _Formatter(self)
        takes_mapping = value.__name__ == "format_map"

        def format(*args: Any, **keywords: Any) -> str:
            if takes_mapping:
                (keywords,), args = args, ()
            return type(text)(formatter.vformat(text, args, keywords))

        format.__name__, format.__wrapped__ = value.__name__, value  # type: ignore[attr-defined]  # a function takes it
        return format

    # -- called by the code of templates ----------------------------------------------------------

    def concat_values(self, context: RenderContext, values: Iterable[Any]) -> str:
        """`~` joins what `{{ }}` would print."""
        return joined(context, "", [str(shown(context, value)) for value in values])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "+":
            _check_sum(context, left, right)
        elif operator == "*":
            _check_product(context, left, right)
            _check_product(context, right, left)
        elif operator == "**":
            _check_power(left, right)
        elif isinstance(left, str):
            context.need(percent_size(left))
            return context.made(super().call_binop(context, operator, left, inserted_in(context, left, right)))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        # The sandbox hands out `str.format` wrapped; the text is behind the wrapper.
        owner = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)
        if isinstance(owner, str):
            return self._call_text(context, obj, owner, args, kwargs)
        if not isinstance(owner, Mapping):
            context.built(len(args) + len(kwargs))
        return context.made(super().call(context, obj, *args, **kwargs))

    def _call_text(
        self, context: RenderContext, method: Any, text: str, args: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        for name in ("_loop_vars", "_block_vars"):
            keywords.pop(name, None)
        name = method.__name__
        if name == "join":
            (parts,) = args
            parts = list(parts)
            context.need(sum(len(p) for p in parts if isinstance(p, str)) + len(text) * len(parts))
            args = (parts,)
        elif name in ("format", "format_map"):
            args = tuple([flat(context, value) for value in args])
            keywords = {name: flat(context, value) for name, value in keywords.items()}
        elif (check := _TEXT_CALLS.get(name)) is not None:
            check(context, text, *args, **keywords)
        return context.made(method(*args, **keywords))


def _check_sum(context: RenderContext, left: Any, right: Any) -> None:
    if isinstance(left, str) and isinstance(right, str):
        context.need(len(left) + len(right))
    elif isinstance(left, _LISTS) and isinstance(right, _LISTS):
        context.built(len(left) + len(right))


def _check_product(context: RenderContext, left: Any, count: Any) -> None:
    if not isinstance(count, int):
        return
    if isinstance(left, str):
        context.need(len(left) * count)
    elif isinstance(left, _LISTS):
        context.built(len(left) * count)
    elif isinstance(left, int) and left.bit_length() + count.bit_length() > _MAX_BITS:
        raise SecurityError("this number is too large for a template")


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > _MAX_BITS:
        raise SecurityError("this power is too large for a template")


def make_sandbox() -> TemplateSandbox:
    """The environment of templates."""
    # Not optimized: what folds constants would make them before anybody counts.
    env = TemplateSandbox(
        undefined=_Strict, finalize=shown, keep_trailing_newline=True, cache_size=0, optimized=False
    )
    env.globals.pop("lipsum", None)
    env.filters = dict(filters())
    return env
