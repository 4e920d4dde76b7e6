"""`df.po` is there in whatever order the libraries are imported, and importing po_jupyter imports none of them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

BOTH = 'assert {m}.DataFrame({{"a": [1]}}).po.map and {m}.Series([1]).po.classify'


def python(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("order", ["{m}, po_jupyter", "po_jupyter, {m}"])
def test_frames_have_po(library: str, order: str) -> None:
    python(f"import {order}\n{BOTH}".format(m=library))


def test_importing_po_jupyter_imports_no_library_of_frames() -> None:
    python(
        "import sys, po_jupyter; assert not {'pandas', 'polars', 'po_jupyter.client.client'} & set(sys.modules)"
    )


def test_a_library_that_is_imported_later_is_as_it_was() -> None:
    """Its loader, and with it its files and the reloading of it, are the usual ones."""
    python(
        "import po_jupyter, polars, importlib.resources, importlib\n"
        "assert 'exec_module' not in vars(polars.__spec__.loader)\n"
        "assert importlib.resources.files('polars').joinpath('__init__.py').is_file()\n"
        "import importlib.util; assert importlib.util.find_spec('pandas')"
    )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_whoever_asks_whether_a_library_is_there_takes_nothing_from_its_import(library: str) -> None:
    """As many libraries do: with `find_spec`, which imports nothing."""
    ask = f"assert importlib.util.find_spec('{library}')\n"
    python(f"import po_jupyter, importlib.util\n{ask}{ask}import {library}\n{BOTH}".format(m=library))


def test_a_loader_that_many_modules_share_is_left_as_it_was(tmp_path: Path) -> None:
    """That of an archive is one for all modules in it."""
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("polars/__init__.py", "DataFrame = type('DataFrame', (), {'po': 'its own'})")
        archive.writestr("other.py", "x = 1")
    python(
        f"import sys, importlib.util; sys.path.insert(0, {str(tmp_path / 'lib.zip')!r})\n"
        "import po_jupyter\n"
        "for _ in range(3): importlib.util.find_spec('polars')\n"
        "import other, polars\n"
        "assert other.x == 1 and polars.DataFrame.po == 'its own'\n"
        "assert 'exec_module' not in vars(polars.__spec__.loader)"
    )
