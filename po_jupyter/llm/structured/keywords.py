"""The keywords of JSON Schema, with a time limit.

Alternatives that refer to alternatives multiply: twelve levels of four are sixteen million. jsonschema goes through all
of them, and matches patterns with `re`, which nothing stops. Its functions are used as they are, with another module in
the place of `re`, in a class of our own: whoever else uses jsonschema in this process keeps what it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any

from po_jupyter.llm.structured import judging
from po_jupyter.model.pipeline import patterns

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator


class _TimedMatching:
    """Stands in for the module `re` in functions of jsonschema."""

    @staticmethod
    def search(pattern: str, text: str) -> bool:
        """Whether the pattern is found. One that we cannot read is not judged: the server that sent it does."""
        return patterns.unusable(pattern) is not None or patterns.matches(pattern, text)


@lru_cache(maxsize=16)
def with_limits(validator: type[Validator], *, patterns: bool) -> type[Validator]:
    """The class of validators of a draft that gives up after a while (JudgingOverrun); with `patterns` each pattern
    does too (PatternOverrun)."""
    from jsonschema import validators

    copies = _TimedCopies()
    keywords = {
        keyword: copies.of(function) if patterns else function
        for keyword, function in validator.VALIDATORS.items()
    }
    if "uniqueItems" in keywords:
        keywords["uniqueItems"] = _unique_items
    extend: Callable[..., type[Validator]] = validators.extend
    limited = extend(validator, keywords)
    _keep_limited(limited, patterns)
    return limited


def _keep_limited(limited: Any, patterns: bool) -> None:
    """Have each part of a schema count as a step. A part that names its draft (`$schema`) is judged by a class of
    jsonschema's: by ours instead."""
    evolve = limited.evolve

    def evolve_limited(self: Any, **changes: Any) -> Any:
        judging.step()
        part = evolve(self, **changes)
        kind: type[Validator] = type(part)
        if kind is limited:
            return part
        of_ours: Any = with_limits(kind, patterns=patterns)
        return of_ours(
            part.schema, registry=part._registry, _resolver=part._resolver, format_checker=part.format_checker
        )

    limited.evolve = evolve_limited


def _unique_items(validator: Any, unique: object, items: object, schema: object) -> Iterator[ValidationError]:
    """As jsonschema's, which compares each element with each when they are objects."""
    if unique and validator.is_type(items, "array"):
        seen = {json.dumps(_comparable(item), sort_keys=True) for item in items}  # type: ignore[attr-defined]  # an array, as was asked
        if len(seen) < len(items):  # type: ignore[arg-type]  # likewise
            from jsonschema import ValidationError

            yield ValidationError(f"{items!r:.200} has non-unique elements")


def _comparable(value: object) -> object:
    """The value with 1.0 as 1: they are equal."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_comparable(inner) for inner in value]
    if isinstance(value, dict):
        return {name: _comparable(inner) for name, inner in value.items()}
    return value


class _TimedCopies:
    """Copies of jsonschema's functions whose modules have timed matching in the place of `re`."""

    def __init__(self) -> None:
        self._modules: dict[str, dict[str, Any]] = {}

    def of(self, function: Any) -> Any:
        """The copy of a function; what is none of jsonschema's stays as it is."""
        if not isinstance(function, FunctionType) or not function.__module__.startswith("jsonschema._"):
            return function
        return FunctionType(
            function.__code__,
            self._module(function),
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )

    def _module(self, function: FunctionType) -> dict[str, Any]:
        """The names of the function's module, its own functions and those that it imported copied too."""
        names = self._modules.get(function.__module__)
        if names is None:
            names = self._modules[function.__module__] = dict(function.__globals__)
            for name, value in function.__globals__.items():
                names[name] = _TimedMatching if value is re else self.of(value)
        return names
