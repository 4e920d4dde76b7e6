"""`df.po` is there in whatever order the libraries are imported, and importing po_jupyter imports none of them."""

from __future__ import annotations

import subprocess
import sys

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
