"""The README is short and true: its ten lines run in a shell as written, and what it names exists.

Its snippets are also run by `tests/docs/test_snippets.py`, together with those of the documentation.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.docs.snippets import page_environ, snippets_of
from tests.support.paths import ROOT

PATH = ROOT / "README.md"
README = PATH.read_text("utf-8")


def blocks(language: str) -> list[str]:
    return [snippet.code for snippet in snippets_of(PATH) if snippet.language == language]


def test_it_fits_a_front_page() -> None:
    """What is longer belongs into the documentation."""
    assert len(README.splitlines()) <= 140


@pytest.mark.acceptance
def test_the_ten_lines_run_as_written(tmp_path: Path) -> None:
    """The first pipeline that anybody sees, in a shell, by the command beside it."""

    def answer(body: dict[str, object], _: int) -> str:
        return json.dumps({"label": "bug"}) if "text" in body else "They are short."

    (text,) = blocks("yaml")
    assert len(text.strip().splitlines()) == 10
    (tmp_path / "tickets.yaml").write_text(text)
    (command,) = [b for b in blocks("bash") if b.startswith("po run")]
    with ModelServer(answer) as model:
        environ = page_environ(tmp_path / "data", model.base_url, model.root_url, model.key)
        po = [sys.executable, "-m", "po_jupyter"]
        try:
            done = subprocess.run(
                [*po, *shlex.split(command)[1:], "--json"],
                cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
        finally:
            subprocess.run([*po, "stop"], env=environ, check=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads(done.stdout)
    assert [row["output"] for row in run["outputs"]["label"]] == [{"label": "bug"}, {"label": "bug"}]
    assert run["outputs"]["summary"] == "They are short."


def test_two_commands_are_enough() -> None:
    """The first installs and runs the demo, the second installs and runs the tests."""
    demo, tests = blocks("bash")[:2]
    assert demo.strip().endswith("po demo") and demo.startswith("python3 -m venv")
    assert tests.strip().endswith(".venv/bin/python -m pytest -n 2 --dist loadfile")
    assert "python -m pytest -n 2 --dist loadfile # the README's command" in (ROOT / ".ci" / "run").read_text()


def test_the_extras_and_notebooks_named_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for group in re.findall(r'"\.\[([\w,]+)\]"', README):
        assert set(group.split(",")) <= set(extras)
    named = set(re.findall(r"\]\(notebooks/([^)]+\.ipynb)\)", README))
    assert named == {path.name for path in ROOT.glob("notebooks/*.ipynb")}
