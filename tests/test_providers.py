"""`po_jupyter.providers`: the one module that an author of a provider imports."""

import subprocess
import sys

import pytest

from po_jupyter import providers
from po_jupyter.platform.source_root import SOURCE_ROOT


@pytest.mark.parametrize("name", providers.__all__)
def test_every_public_name_is_there(name):
    assert getattr(providers, name) is not None
    assert name in dir(providers)


def test_the_names_are_sorted_and_no_others_exist():
    names = [name for name in providers.__all__ if name != "JSON_ONLY"]
    assert names == sorted(names)
    with pytest.raises(AttributeError, match="Reading"):
        _ = providers.Reading


@pytest.mark.integration
def test_importing_it_imports_no_http():
    code = "import sys; from po_jupyter.providers import Spec\n"
    code += "print([m for m in ('httpx', 'aiohttp', 'genai_prices', 'jsonschema') if m in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=SOURCE_ROOT, check=True
    )
    assert ran.stdout.strip() == "[]"
