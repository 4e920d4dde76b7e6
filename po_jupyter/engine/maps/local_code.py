"""A person's own code that other code imports: its files change between two runs, unlike what is installed.

Imports are read and not executed, those inside of functions too. What code finds by a name that it makes is not seen.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

from po_jupyter.model.values.digests import short_digest

_MOST = 2000  # files of one package
_NEVER = frozenset({*sys.stdlib_module_names, "po_jupyter", "__main__"})


def local_hashes(texts: Iterable[str], modules: Iterable[str] = ()) -> list[str]:
    """The hashes of all files that Python in `texts`, and the modules of those names, consist of and import; of those
    that are not installed. Blocks."""
    hashes: set[str] = set()
    waiting = [name for text in texts for name in _imported(text)]
    waiting += [name.partition(".")[0] for name in modules]
    seen = set(_NEVER)
    while waiting:
        if (name := waiting.pop()) in seen:
            continue
        seen.add(name)
        for path in islice(_files(name), _MOST):
            try:
                content = path.read_bytes()
            except OSError:
                continue
            hashes.add(short_digest(content))
            waiting += _imported(content)
    return sorted(hashes)


def _imported(text: str | bytes) -> Iterator[str]:
    """The names of the packages that Python imports; none for what cannot be parsed."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
            yield node.module.partition(".")[0]


def _files(name: str) -> Iterator[Path]:
    """The files of a module or package that is not installed, without importing it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        paths = iter([Path(spec.origin)] if spec.origin and spec.has_location else [])
    else:
        paths = (path for at in spec.submodule_search_locations for path in sorted(Path(at).rglob("*.py")))
    for path in paths:
        if path.suffix != ".py" or _is_installed(path):
            return
        yield path


def _is_installed(path: Path) -> bool:
    return any(path.is_relative_to(directory) for directory in _installed()) or not {
        "site-packages",
        "dist-packages",
    }.isdisjoint(path.parts)


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))
