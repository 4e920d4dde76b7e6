"""The panel's own unit tests (`jlpm test`): TypeScript that needs no browser, checked and run by Node."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.panel_tools import UI, panel_tool

pytestmark = pytest.mark.integration


@pytest.mark.timeout(400)  # that of the command, and what is around it
@pytest.mark.parametrize("command", [("tsc", "-p", "tsconfig.tests.json"), ("vitest", "run", "--no-color")])
def test_the_panels_own_tests_pass(command: tuple[str, ...]) -> None:
    """C5: what the panel counts, says and remembers is tested where it is written."""
    done = subprocess.run(
        [*panel_tool(command[0]), *command[1:]],
        cwd=UI, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
