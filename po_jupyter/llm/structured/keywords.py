"""The keywords of JSON Schema that match patterns, with a time limit.

jsonschema matches with `re`, which nothing stops. Its functions are used as they are, with another module in the place
of `re`, in a class of our own: whoever else uses jsonschema in this process keeps what it has.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any

from po_jupyter.model.pipeline import patterns

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


class _TimedMatching:
    """Stands in for the module `re` in functions of jsonschema."""

    @staticmethod
    def search(pattern: str, text: str) -> bool:
        """Whether the pattern is found. One that we cannot read is not judged: the server that sent it does."""
        return patterns.unusable(pattern) is not None or patterns.matches(pattern, text)


@lru_cache(maxsize=16)
def with_timed_patterns(validator: type[Validator]) -> type[Validator]:
    """The class of validators of a draft, with patterns that are given up after a while (PatternOverrun)."""
    from jsonschema import validators

    copies = _TimedCopies()
    keywords = {keyword: copies.of(function) for keyword, function in validator.VALIDATORS.items()}
    extend: Callable[..., type[Validator]] = validators.extend
    timed = extend(validator, keywords)
    _keep_timed(timed)
    return timed


def _keep_timed(timed: Any) -> None:
    """A part of a schema that names its draft (`$schema`) is judged by a class of jsonschema's: by ours instead."""
    evolve = timed.evolve

    def evolve_timed(self: Any, **changes: Any) -> Any:
        part = evolve(self, **changes)
        kind: type[Validator] = type(part)
        if kind is timed:
            return part
        of_ours: Any = with_timed_patterns(kind)
        return of_ours(
            part.schema, registry=part._registry, _resolver=part._resolver, format_checker=part.format_checker
        )

    timed.evolve = evolve_timed


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
