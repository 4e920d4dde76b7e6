"""What a failed attempt had in its hands, kept beside its logs (B5)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from po_jupyter.errors import PoError
from po_jupyter.telemetry.redaction import redactor

if TYPE_CHECKING:
    from po_jupyter.engine.lifecycle.stages import Frame
    from po_jupyter.engine.run.session import Work

_MAX = 256 * 1024  # characters of one value
_ROWS = 20  # rows of a map that get one: they tend to fail alike


def keep(work: Work, frame: Frame, error: PoError) -> None:
    """Write `logs/TASK/STAGE[.ROW].context.json` and name it in the error's details, as `context`.

    Without keys. Nothing is raised: a failure that cannot be described is still one.
    """
    task = frame.task.name
    name = frame.stage or "start"
    if frame.index is not None:
        kept = work.snapshots[task] = work.snapshots.get(task, 0) + 1
        if kept > _ROWS:
            return
        name = f"{name}.{frame.index}"
    said = {
        "run": work.run,
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
    path = work.run_dir / "logs" / task / f"{name}.context.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps({k: _cut(v) for k, v in said.items()}, ensure_ascii=False, indent=1, default=repr)
        path.write_text(redactor.text(text), "utf-8", errors="replace")
    except (OSError, ValueError, RecursionError):
        return
    error.details.setdefault("context", str(path))


def _cut(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return value if len(text) <= _MAX else f"{text[:_MAX]}… ({len(text)} characters)"
