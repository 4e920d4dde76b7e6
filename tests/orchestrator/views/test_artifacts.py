"""Artifacts of a run: those that its log lists and those that came with its seed; no other file."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.state.run_state import RunState, TaskState
from po_jupyter.errors import NotFound
from po_jupyter.orchestrator.views.artifacts import listed, opened, seed_files_of, take_over


def entry(run_dir: Path, path: str, data: bytes) -> dict[str, Any]:
    """Write the file of an artifact; its entry in the log."""
    file = run_dir / "artifacts" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    name = path.split("/", 2)[2]
    return {"name": name, "path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def state(**artifacts: list[dict[str, Any]]) -> RunState:
    tasks = {name: TaskState(name, artifacts=tuple(entries)) for name, entries in artifacts.items()}
    return RunState("0123456789abcdef012345", tasks=tasks)


def content(run_dir: Path, state: RunState, name: str) -> bytes:
    with opened(run_dir, state, name) as file:
        return file.read()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    run_dir = tmp_path / "run"
    (run_dir / "given" / "in").mkdir(parents=True)
    (run_dir / "given" / "in" / "photo.png").write_bytes(b"photo")
    return run_dir


def test_the_list_has_what_the_log_and_the_seed_have(run_dir: Path) -> None:
    """P1: a file of a crashed attempt is no artifact."""
    report = entry(run_dir, "a/1-1/report.md", b"report")
    entry(run_dir, "a/1-2/report.md", b"of another attempt")
    first, second = listed(run_dir, state(a=[report]))
    assert first == {
        "name": "in/photo.png", "task": None, "bytes": 5, "sha256": None,
        "path": str(run_dir / "given" / "in" / "photo.png"),
    }  # fmt: skip
    assert (second["name"], second["task"], second["bytes"]) == ("report.md", "a", 6)
    assert second["sha256"] == report["sha256"]
    assert Path(second["path"]).read_bytes() == b"report"
    assert listed(run_dir / "nowhere", state()) == []


def test_a_later_task_and_any_task_wins_over_the_seed(run_dir: Path) -> None:
    run = state(
        a=[entry(run_dir, "a/1-1/in/photo.png", b"a's")], b=[entry(run_dir, "b/1-1/in/photo.png", b"b's")]
    )
    (only,) = listed(run_dir, run)
    assert only["task"] == "b"
    assert content(run_dir, run, "in/photo.png") == b"b's"
    assert content(run_dir, state(), "in/photo.png") == b"photo"


@pytest.mark.parametrize("name", ["report.mt", "../../../etc/passwd", "/etc/passwd", "in", "a/1-1/report.md"])
def test_nothing_but_an_artifact_is_read_by_its_name(run_dir: Path, name: str) -> None:
    """P6, P11."""
    run = state(a=[entry(run_dir, "a/1-1/report.md", b"report")])
    with pytest.raises(NotFound, match="has no artifact") as caught:
        content(run_dir, run, name)
    if name == "report.mt":
        assert "did you mean `report.md`?" in caught.value.message


def test_one_of_another_node_is_brought_here_once(run_dir: Path, tmp_path: Path) -> None:
    """One that came with the seed, too."""
    here = tmp_path / "here"
    run = state(a=[entry(run_dir, "a/1-7/d/report.md", b"report")])
    given = seed_files_of(run_dir)
    assert [info["name"] for info in listed(here, run, given)] == ["d/report.md", "in/photo.png"]
    asked: list[str] = []

    def fetch(file: tuple[str, int, str]) -> None:
        asked.append(file[0])
        assert file[1] == (7 if "report" in file[0] else 0)
        target = here / file[0]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((run_dir / file[0]).read_bytes())

    for _ in range(2):
        for name, data in (("d/report.md", b"report"), ("in/photo.png", b"photo")):
            with opened(here, run, name, fetch, given) as file:
                assert file.read() == data
    assert asked == ["artifacts/a/1-7/d/report.md", "given/in/photo.png"]
    with pytest.raises(NotFound):
        opened(tmp_path / "nowhere", run, "d/report.md")


@pytest.mark.skipif(sys.platform == "win32", reason="platform: links need rights there")
def test_a_link_that_somebody_put_there_is_no_artifact(run_dir: Path, tmp_path: Path) -> None:
    """P6."""
    (tmp_path / "secret").write_text("secret")
    (run_dir / "given" / "link").symlink_to(tmp_path / "secret")
    assert [info["name"] for info in listed(run_dir, state())] == ["in/photo.png"]
    with pytest.raises(NotFound):
        content(run_dir, state(), "link")


def test_a_fork_gets_the_files_of_the_tasks_that_it_keeps_and_of_the_seed(
    run_dir: Path, tmp_path: Path
) -> None:
    """B13: a file that somebody removed by hand is as missing there as here, and stops nothing."""
    kept = entry(run_dir, "a/1-1/kept", b"kept")
    gone = entry(run_dir, "a/1-1/gone", b"gone")
    (run_dir / "artifacts" / "a" / "1-1" / "gone").unlink()
    run = state(a=[gone, kept], b=[entry(run_dir, "b/1-1/not kept", b"x")])
    target = tmp_path / "fork"
    take_over(run_dir, target, [run.tasks["a"]])
    files = {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert files == {"artifacts/a/1-1/kept": b"kept", "given/in/photo.png": b"photo"}
