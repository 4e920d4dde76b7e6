"""Pipelines from a folder of files: registered when they change, and never lost by a mistake (B10)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from po_jupyter.orchestrator.submission.pipeline_files import PipelineFiles
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.store.keyed.memory import MemoryStore

TASKS = "tasks:\n- {name: a, prompt: x}\n"


class Rig:
    """A folder of pipelines and the registry that they go into."""

    def __init__(self, tmp: Path) -> None:
        self.folder = tmp / "pipelines"
        self.folder.mkdir()
        self.registry = PipelineRegistry(MemoryStore())
        self.files = PipelineFiles(self.folder, self.registry, "me")
        self._moment = 1_700_000_000

    def write(self, name: str, text: str | bytes) -> None:
        """Write a file, a second later than the one before."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        self._moment += 1
        os.utime(path, (self._moment, self._moment))

    @property
    def names(self) -> list[str]:
        return [summary["name"] for summary in self.registry.summaries("me")]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_pipeline_has_the_name_of_its_file_or_its_own(rig: Rig) -> None:
    rig.write("one.yaml", TASKS)
    rig.write("two.yml", f"name: mine\n{TASKS}")
    rig.write("three.json", json.dumps({"tasks": [{"name": "a", "prompt": "x"}]}))
    rig.write("four/pipeline.yaml", TASKS)
    rig.write("five.yaml", b"\xef\xbb\xbf" + TASKS.encode())
    assert rig.files.refresh() == 5
    assert rig.names == ["five", "four", "mine", "one", "three"]
    assert rig.files.problems == {}
    assert rig.files.project == rig.folder.parent


def test_other_files_are_not_pipelines(rig: Rig) -> None:
    for name in (".hidden.yaml", "notes.txt", "folder/other.yaml", ".git/pipeline.yaml"):
        rig.write(name, TASKS)
    (rig.folder / "folder.yaml").mkdir()
    assert rig.files.refresh() == 0
    assert (rig.names, rig.files.problems) == ([], {})


def test_only_what_changed_is_read_again(rig: Rig) -> None:
    rig.write("one.yaml", TASKS)
    rig.write("two.yaml", TASKS)
    rig.files.refresh()
    assert rig.files.refresh() == 0
    rig.write("two.yaml", f"version: 2.0.0\n{TASKS}")
    assert rig.files.refresh() == 1
    assert [s["version"] for s in rig.registry.summaries("me")][1] == "2.0.0"


def test_a_mistake_is_told_once_and_what_was_registered_stays(rig: Rig) -> None:
    """P11: the run of tonight still finds its pipeline; the message names the file."""
    rig.write("one.yaml", TASKS)
    rig.files.refresh()
    rig.write("one.yaml", "tasks:\n- {name: a, promt: x}\n")
    rig.write("two.yaml", TASKS)
    assert rig.files.refresh() == 1, "the others are read all the same"
    assert rig.names == ["one", "two"]
    assert rig.files.problems.keys() == {"one"}
    assert str(rig.folder / "one.yaml") in rig.files.problems["one"]
    assert "did you mean `prompt`?" in rig.files.problems["one"]
    assert rig.files.refresh() == 0
    rig.write("one.yaml", TASKS)
    rig.files.refresh()
    assert rig.files.problems == {}


def test_a_file_that_is_no_text_is_tried_again(rig: Rig) -> None:
    """It may be that it was only written in part."""
    rig.write("one.yaml", b"\xff\xfe\xff")
    assert rig.files.refresh() == 0
    assert "cannot be read" in rig.files.problems["one"]
    moment = (rig.folder / "one.yaml").stat().st_mtime_ns
    (rig.folder / "one.yaml").write_bytes(b"{} ")
    os.utime(rig.folder / "one.yaml", ns=(moment, moment))
    rig.files.refresh()
    assert "needs `tasks`" in rig.files.problems["one"]


def test_a_file_that_is_no_definition_by_its_size_is_not_read(rig: Rig) -> None:
    rig.write("one.yaml", b"#" * 4_000_001)
    assert rig.files.refresh() == 0
    assert "may have 4,000,000" in rig.files.problems["one"]


def test_a_folder_that_is_gone_stops_nothing(rig: Rig) -> None:
    rig.write("one.yaml", TASKS)
    rig.files.refresh()
    (rig.folder / "one.yaml").unlink()
    rig.folder.rmdir()
    assert rig.files.refresh() == 0
    assert rig.names == ["one"]


def test_a_file_that_runs_a_pipeline_of_a_later_file_is_registered_once_that_is_there(rig: Rig) -> None:
    rig.write("a.yaml", "tasks:\n- {name: t, pipeline: b}\n")
    rig.write("b.yaml", TASKS)
    assert rig.files.refresh() == 1
    assert "there is no pipeline 'b'" in rig.files.problems["a"]
    assert rig.files.refresh() == 1
    assert rig.files.problems == {}
    assert rig.names == ["a", "b"]
    assert rig.files.refresh() == 0
