"""The panel's own unit tests (`jlpm test`): TypeScript that needs no browser, checked and run by Node."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.integration

UI = ROOT / "po_jupyter" / "ui"


def test_vitest_passes() -> None:
    """C5: what the panel counts, says and remembers is tested where it is written."""
    if not (UI / "node_modules/.bin/vitest").exists():
        pytest.skip(
            "the panel's packages are not installed: pip install -e . (or jlpm install in po_jupyter/ui)"
        )
    if shutil.which("node") is None:
        pytest.skip("no Node here: install one, 20 or newer")
    for command in (("tsc", "-p", "tsconfig.tests.json"), ("vitest", "run", "--no-color")):
        done = subprocess.run(
            [UI / "node_modules/.bin" / command[0], *command[1:]],
            cwd=UI,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
