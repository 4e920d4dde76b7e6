"""Modules of one's own that the code of a map imports: an edit of one makes other outcomes."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from po_jupyter.engine.maps.definition import definition_hash
from po_jupyter.engine.maps.local_code import local_hashes
from tests.engine.maps.test_definition import PROMPT, ROWS, definition
from tests.support.engine import inputs_of


@pytest.fixture
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that modules are found in, as a run's directory is in its worker."""
    directory = tmp_path / "own"
    (directory / "po_own_parts").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(directory))
    return directory


@pytest.mark.parametrize(
    "code",
    [
        "import po_own_helper",
        "from po_own_helper import X",
        "def later():\n    import po_own_helper",
        "from po_own_parts import label",  # which imports it
    ],
)
@pytest.mark.parametrize("kind", ["source", "output_type"])
def test_an_edited_helper_of_ones_own_is_other_work(
    tmp_path: Path, own_directory: Path, code: str, kind: str
) -> None:
    """What it made of a row, or let through, before it was edited is not taken over."""
    helper = own_directory / "po_own_helper.py"
    (own_directory / "po_own_parts" / "__init__.py").touch()
    (own_directory / "po_own_parts" / "label.py").write_text("import po_own_helper")
    tasks = {
        "source": {"name": "m", "source": f"{code}\ndef inference(ctx): pass", "for_each": "{{ seed.rows }}"},
        "output_type": {**PROMPT, "output": {"type": "string"}, "output_type": f"{code}\nAnswer = str"},
    }
    helper.write_text("X = 1")
    before = definition(tmp_path, tasks[kind])
    assert definition(tmp_path, tasks[kind]) == before
    helper.write_text("X = 2")
    assert definition(tmp_path, tasks[kind]) != before


def test_an_edited_helper_of_a_module_is_other_work(tmp_path: Path, own_directory: Path) -> None:
    package = own_directory / "po_own_parts"
    (package / "__init__.py").touch()
    (package / "stages.py").write_text("from .words import X\ndef inference(ctx): return X")
    (package / "words.py").write_text("X = 1")
    functions = {"inference": importlib.import_module("po_own_parts.stages").inference}
    inputs = inputs_of(
        tmp_path, [{"name": "m", "task": "po_own_parts.stages", "for_each": "{{ seed.rows }}"}], ROWS
    )
    before = definition_hash(inputs, inputs.pipeline.task("m"), functions)
    (package / "words.py").write_text("X = 2")
    assert definition_hash(inputs, inputs.pipeline.task("m"), functions) != before


def test_installed_packages_are_not_looked_through() -> None:
    assert (
        local_hashes(["import json, jinja2, po_jupyter, no_such_module", "no Python"], ["jinja2.nodes"]) == []
    )
