"""The sentences of an estimate. Pure, like `format`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from po_jupyter.presentation import format as fmt


def estimate_lines(estimate: Mapping[str, Any]) -> list[str]:
    """One line for the run and one for each task; `estimate` is JSON as the server answers it."""
    more = "at least " if estimate["unknown"] else ""
    parts = [
        f"{more}{estimate['calls']:,} calls",
        f"about {fmt.tokens(estimate['input_tokens'])} tokens in",
        f"at most {fmt.tokens(estimate['output_tokens_max'])} out",
    ]
    cost = estimate["cost"]
    if cost["expected"] is not None and cost["expected"] != cost["worst"]:
        parts.append(f"about {fmt.money(cost['expected'])}")
    parts.append("cost unknown" if cost["worst"] is None else f"at most {fmt.money(cost['worst'])}")
    out = [f"{estimate['pipeline']} (estimate, nothing was started): " + " · ".join(parts)]
    width = max(len(t["name"]) for t in estimate["tasks"])
    for task in estimate["tasks"]:
        if task["calls"] is None:
            out.append(f"  {task['name']:<{width}}  not known before it runs")
            continue
        rows = f"{task['rows']:,} rows · " if task["rows"] is not None else ""
        worst = task["cost"]["worst"]
        price = "cost unknown" if worst is None else f"at most {fmt.money(worst)}"
        calls = f"{task['calls']:,} {'call' if task['calls'] == 1 else 'calls'}"
        if task["calls_max"] != task["calls"]:
            calls += f" ({task['calls_max']:,} at most)"
        half = " · half price, within a day" if task.get("mode") == "batch" else ""
        out.append(
            f"  {task['name']:<{width}}  {rows}{calls} · {fmt.tokens(task['input_tokens'])} in · {price}{half}"
        )
    out += [f"  not in these numbers: {what}" for what in estimate["unknown"]]
    out += _analysis_lines(estimate.get("analysis") or {})
    out += [f"  before it can run: {what}" for what in estimate.get("warnings", ())]
    return out


def _analysis_lines(analysis: Mapping[str, Any]) -> list[str]:
    """What the seed looks like, and what each task leaves."""
    seed = analysis.get("seed")
    out = [f"  seed: {seed['shape']}"] if seed else []
    for task in analysis.get("tasks", ()):
        left = [task["shape"], *(f"file {name}" for name in task["artifacts"])]
        left = [what for what in left if what]
        if left:
            out.append(f"  {task['name']} leaves {', '.join(left)}")
    return out
