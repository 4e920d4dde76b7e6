"""The logs of a run's stages: what they printed, read by names that lead nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from po_jupyter.engine.files.artifacts import list_files
from po_jupyter.engine.stage_logs.live_file import stage_of_live_file
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import NotFound
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.names import short_id
from po_jupyter.store.files.tree import Tree
from po_jupyter.telemetry.redaction import redactor

_TAIL = 64 * 1024  # bytes of each log that are shown
_LOGS = 200  # logs in one answer


class StageLogView(TypedDict):
    """A log. `text` is the end of it, 64 KB at most, without keys; `cut` says that there is more. The worker's own log
    has neither task nor stage."""

    task: str | None
    stage: str | None
    name: str
    bytes: int
    text: str
    cut: bool


def logs(run_dir: Path, state: RunState, task: str | None, stage: str | None) -> list[StageLogView]:
    """Every log, or those of a task or a stage. What a stage's subprocesses have written so far can stand in
    `STAGE.live` while it runs. NotFound for a task that the run does not have.
    """
    if task is not None and task not in state.tasks:
        guess = did_you_mean(task, list(state.tasks))
        raise NotFound(f"run {short_id(state.run)} has no task {task!r}{guess}")
    own = Tree(run_dir)
    names = own.names("")
    # First: what becomes a log meanwhile is there twice, and not nowhere.
    live = [shown for name in names if (shown := _live(own, name)) is not None]
    tree = Tree(run_dir / "logs")
    shown_logs = []
    for path in list_files(tree):
        owner, _, name = path.partition("/")
        owner, name = (owner, name) if name else ("", owner)
        its_stage = name.partition(".")[0] if name.endswith((".log", ".context.json")) else None
        if (task is None or owner == task) and (stage is None or its_stage == stage):
            shown_logs.append(_read_end(tree, path, owner or None, its_stage, name))
    shown_logs += [log for log in live if task in (None, log["task"]) and stage in (None, log["stage"])]
    if task is None and stage is None and "worker.log" in names:
        shown_logs.append(_read_end(own, "worker.log", None, None, "worker.log"))
    return shown_logs[-_LOGS:]


def _live(tree: Tree, name: str) -> StageLogView | None:
    """The log of what a stage has written past Python and is not in its own log yet; None when that is nothing."""
    owner = stage_of_live_file(name)
    if owner is None:
        return None
    try:
        shown = _read_end(tree, name, *owner, name.partition(".")[2])
    except NotFound:  # now it is
        return None
    return shown if shown["bytes"] else None


def _read_end(tree: Tree, path: str, task: str | None, stage: str | None, name: str) -> StageLogView:
    with tree.open(path) as opened:
        size = opened.seek(0, 2)
        opened.seek(max(0, size - _TAIL))
        text = opened.read(_TAIL).decode("utf-8", "replace")
    return {
        "task": task, "stage": stage, "name": name, "bytes": size, "text": redactor.text(text), "cut": size > _TAIL,
    }  # fmt: skip
