"""Moved names: old import paths of authors of providers, kept for one release with a DeprecationWarning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module


def moved_names(module: str, names: Mapping[str, tuple[str, str]]) -> Callable[[str], object]:
    """The `__getattr__` of a module whose names have moved.

    `names` maps an old name to (where it is found now as `module:name`, the public name that the warning gives).
    """

    def find(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        path, public = names[name]
        warnings.warn(
            f"{module}.{name} has moved: import {public} instead; the old path goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        home, _, inner = path.partition(":")
        return getattr(import_module(home), inner)

    return find


def to_public(**names: str) -> dict[str, tuple[str, str]]:
    """The entries of names that are in `po_jupyter.providers` now: old name = new name."""
    return {old: (f"po_jupyter.providers:{new}", f"po_jupyter.providers.{new}") for old, new in names.items()}
