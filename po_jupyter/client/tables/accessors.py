"""`df.po` and `column.po`: the operations on tables as methods of pandas' and polars' own objects.

They are registered where the library is imported already, else as soon as it is: nothing is imported for it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

LIBRARIES = ("pandas", "polars")
NAME = "po"


class TableAccessor:
    """`po.map`, `po.filter`, `po.extract` and `po.classify` of one frame or column."""

    def __init__(self, table: Any) -> None:
        """The operations of `table`."""
        self._table = table

    def map(self, prompt: Any, **options: Any) -> Any:
        """As `po.map`."""
        return _operations().map(self._table, prompt, **options)

    def filter(self, prompt: Any = None, **options: Any) -> Any:
        """As `po.filter`."""
        return _operations().filter(self._table, prompt, **options)

    def extract(self, fields: Any, **options: Any) -> Any:
        """As `po.extract`."""
        return _operations().extract(self._table, fields, **options)

    def classify(self, labels: Iterable[str], **options: Any) -> Any:
        """As `po.classify`."""
        return _operations().classify(self._table, labels, **options)


def register() -> None:
    """Give the frames and columns of pandas and polars their `po`, now or when they are imported."""
    later = {library for library in LIBRARIES if library not in sys.modules}
    for library in LIBRARIES:
        if library not in later:
            _register(library)
    if later and not any(isinstance(finder, _ImportWatch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ImportWatch(later))


class _ImportWatch:
    """A finder that finds nothing itself: it hears of the first import of a library.

    wrapt has the same; importing it takes 60 ms, which every kernel and worker would pay. So would `importlib.abc`,
    whose MetaPathFinder this is one of by its method alone.
    """

    def __init__(self, libraries: set[str]) -> None:
        self._libraries = libraries

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._libraries:
            return None
        spec = self._spec_of_others(fullname, path, target)
        loader = spec.loader if spec is not None else None
        if loader is None or "exec_module" in vars(loader):
            return spec  # of an archive, whose loader is one for all modules in it, and watched already
        run_module = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            if module.__name__ == fullname:  # not who asked for the spec alone: it may be imported later
                del loader.exec_module
                self._libraries.discard(fullname)
            run_module(module)
            if module.__name__ == fullname:
                _register(fullname)

        loader.exec_module = exec_module  # type: ignore[method-assign]  # of this loader, until then
        return spec

    def _spec_of_others(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        """The spec by the finders behind this one; those before it found nothing."""
        finders = sys.meta_path[sys.meta_path.index(self) + 1 :] if self in sys.meta_path else sys.meta_path
        for finder in finders:
            spec: ModuleSpec | None = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
        return None


def _register(library: str) -> None:
    module = sys.modules[library]
    if getattr(getattr(module, "DataFrame", None), NAME, None) is not None:
        return
    if library == "pandas":
        extensions = import_module("pandas.api.extensions")
        extensions.register_dataframe_accessor(NAME)(TableAccessor)
        extensions.register_series_accessor(NAME)(TableAccessor)
    else:
        api = import_module("polars.api")
        api.register_dataframe_namespace(NAME)(TableAccessor)
        api.register_series_namespace(NAME)(TableAccessor)


def _operations() -> Any:
    return import_module("po_jupyter.client.tables.operations")
