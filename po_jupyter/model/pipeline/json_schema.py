"""jsonschema, imported without what takes most of its time.

Where Jupyter is installed jsonschema finds `rfc3987_syntax`, for the format `iri`, and its import builds a whole
grammar: 1.5 s and 22 MB for a check that hardly any schema asks for. Here it is built by the first one that does.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_SLOW = "rfc3987_syntax"


class _Later(ModuleType):
    """Stands in for the module while jsonschema is imported."""

    @staticmethod
    def is_valid_syntax(*args: Any) -> Any:
        return importlib.import_module(_SLOW).is_valid_syntax(*args)


def load() -> None:
    """Import jsonschema; call it before any `from jsonschema import`."""
    if "jsonschema" in sys.modules:
        return
    later = None
    if _SLOW not in sys.modules and find_spec(_SLOW) is not None:
        later = sys.modules[_SLOW] = _Later(_SLOW)
    try:
        importlib.import_module("jsonschema")
    finally:
        if later is not None and sys.modules.get(_SLOW) is later:
            del sys.modules[_SLOW]
