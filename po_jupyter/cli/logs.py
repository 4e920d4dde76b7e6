"""The logs of stages, for `po logs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from po_jupyter.cli import base

if TYPE_CHECKING:
    from po_jupyter.client.client import Run


def stage_logs(run: Run, task: str | None, stage: str | None, as_json: bool) -> int:
    """Print what stages wrote."""
    found = run.logs(task, stage)
    if as_json:
        base.dump(found)
    elif not found:
        base.say(f"nothing was printed by {stage or task or 'its tasks'} in run {run.short}")
    else:
        for log in found:
            place = "/".join(part for part in (log["task"], log["name"]) if part)
            cut = f" (its end; {log['bytes']:,} bytes)" if log["cut"] else ""
            base.say(f"── {base.clean(place)}{cut}", bold=True)
            base.say(base.clean(log["text"].rstrip("\n")))
    return 0
