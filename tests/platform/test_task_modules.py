from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from po_jupyter.platform import task_modules
from po_jupyter.platform.task_modules import candidates, is_available


def test_a_hyphen_in_a_tasks_name_may_be_an_underscore_of_its_module() -> None:
    assert candidates("deep-dive") == ["deep-dive", "deep_dive"]
    assert candidates("label") == ["label"]


@pytest.mark.parametrize(
    ("name", "available"),
    [
        ("json", True),
        ("json.decoder", True),
        ("xml-rpc", False),
        ("nowhere.at.all", False),
        (".relative", False),
    ],
)
def test_a_module_is_found_without_its_import(name: str, available: bool) -> None:
    assert is_available(name) is available


@pytest.mark.integration
def test_the_program_answers_for_its_directory_with_the_standard_library_alone(tmp_path: Path) -> None:
    """It is run by path in other interpreters: `-S -I` leaves nothing but the standard library to import."""
    (tmp_path / "labels.py").write_text("raise RuntimeError('must not be imported')")
    noisy = tmp_path / "noisy"
    noisy.mkdir()
    (noisy / "__init__.py").write_text("print('hello')")
    (noisy / "part.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-S", "-I", task_modules.__file__, str(tmp_path)],
        input=json.dumps(["labels", "noisy.part", "po_jupyter", "absent-one"]),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == ["po_jupyter", "absent-one"]
