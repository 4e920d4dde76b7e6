"""Snapshots of failed attempts: the frame as JSON, kept beside the logs of the stage (B5)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.errors import PoError
from po_jupyter.platform.private_file import PRIVATE_DIRECTORY
from po_jupyter.telemetry.redaction import redactor

_MAX = 256 * 1024  # characters of one value
_ROWS = 20  # rows of a map that get one: they tend to fail alike


class Snapshots:
    """The snapshots of one run, written to `RUN_DIR/logs`; at most 20 for the rows of each map."""

    def __init__(self, run: str, run_dir: Path) -> None:
        """The snapshots of the run with this id and directory."""
        self._run = run
        self._logs = run_dir / "logs"
        self._of_rows: Counter[str] = Counter()  # written so far, by task

    def write(self, frame: Frame, error: PoError) -> None:
        """Write `logs/TASK/STAGE[.ROW].context.json` and name it in the error's details, as `context`.

        Without keys. Nothing is raised: a failure that cannot be described is still one.
        """
        task = frame.task.name
        name = frame.stage or "start"
        if frame.index is not None:
            self._of_rows[task] += 1
            if self._of_rows[task] > _ROWS:
                return
            name = f"{name}.{frame.index}"
        content = {
            "run": self._run,
            "task": task,
            "stage": frame.stage,
            "previous_stage": frame.previous,
            "attempt": frame.attempt,
            "round": frame.round,
            "index": frame.index,
            "item": frame.item,
            "data": frame.data,
            "output": frame.output,
            "flags": dict(frame.flags),
            "violations": frame.violations,
        }
        path = self._logs / task / f"{name}.context.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
            text = json.dumps(
                {k: _cut(v) for k, v in content.items()}, ensure_ascii=False, indent=1, default=repr
            )
            path.write_text(redactor.text(text), "utf-8", errors="replace")
        except (OSError, ValueError, RecursionError):
            return
        error.details.setdefault("context", str(path))


def _cut(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return value if len(text) <= _MAX else f"{text[:_MAX]}… ({len(text)} characters)"
