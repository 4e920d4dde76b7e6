"""The tools that the panel is built and tested with, which `pip install` and `jlpm install` bring along."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

UI = ROOT / "po_jupyter" / "ui"


def panel_tool(name: str) -> list[str]:
    """The beginning of a command line: Node, that of this environment first, and the tool's script."""
    beside = Path(sys.executable).with_name("node")
    node = str(beside) if beside.exists() else shutil.which("node")
    script = UI / "node_modules/.bin" / name
    if node is None or not script.exists():
        pytest.skip(f"no {'Node' if node is None else name} here: pip install -e '.[test]'")
    return [node, str(script)]
