"""jsonschema, imported without what takes most of its time.

Where Jupyter is installed jsonschema finds `rfc3987_syntax`, for the format `iri`, and its import builds a whole
grammar: 1.5 s and 22 MB for a check that hardly any schema asks for; and `isoduration`, for the format `duration`,
which brings arrow and all its languages: 2 MB. Here each is imported by the first check that needs it.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _Iris(ModuleType):
    """Stands in for `rfc3987_syntax` while jsonschema is imported."""

    @staticmethod
    def is_valid_syntax(*args: Any) -> Any:
        return importlib.import_module("rfc3987_syntax").is_valid_syntax(*args)


class _NoDuration(ValueError):
    """Stands in for the error of a text that is no duration."""


class _Durations(ModuleType):
    """Stands in for `isoduration` while jsonschema is imported."""

    DurationParsingException = _NoDuration

    @staticmethod
    def parse_duration(text: str) -> Any:
        module = importlib.import_module("isoduration")
        try:
            return module.parse_duration(text)
        except module.DurationParsingException as error:
            raise _NoDuration(str(error)) from None


_LATER = {"rfc3987_syntax": _Iris, "isoduration": _Durations}


def load() -> None:
    """Import jsonschema; call it before any `from jsonschema import`."""
    if "jsonschema" in sys.modules:
        return
    later = {
        name: stand_in(name)
        for name, stand_in in _LATER.items()
        if name not in sys.modules and find_spec(name) is not None
    }
    sys.modules.update(later)
    try:
        importlib.import_module("jsonschema")
    finally:
        for name, module in later.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
