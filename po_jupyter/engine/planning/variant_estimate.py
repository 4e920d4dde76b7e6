"""The estimate of a map with variants: the sum over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.values.json import JsonObject

_COUNTS = ("rows", "calls", "calls_max", "input_tokens", "output_tokens_max")


def estimate_variants(task: Task, outputs: JsonObject, estimate: Callable[[Task], JsonObject]) -> JsonObject:
    """The numbers of a task with variants, each estimated by `estimate`, which leaves a sample of its rows in
    `outputs`; then that of all of them is there."""
    samples: list[Any] = []
    parts: list[JsonObject] = []
    for one in task.variant_tasks:
        parts.append(estimate(one))
        samples.append(outputs.pop(task.name, None))
    if all(isinstance(sample, list) for sample in samples):
        outputs[task.name] = _rows(samples, list(task.variants or ()))
    models = dict.fromkeys(part["model"] for part in parts)
    result = {**parts[0], "model": ", ".join(filter(None, models)) or None}
    for name in _COUNTS:
        numbers = [part[name] for part in parts]
        result[name] = None if None in numbers else sum(numbers)
    costs = {case: [part["cost"][case] for part in parts] for case in ("expected", "worst")}
    result["cost"] = {case: None if None in usd else sum(usd) for case, usd in costs.items()}
    return result


def _rows(samples: Sequence[list[JsonObject]], names: Sequence[str]) -> list[JsonObject]:
    """The rows of a map as they come: of each row in turn that of each variant."""
    return [
        {**sample, "index": row * len(names) + number, "variant": names[number], "row": row}
        for row, of_row in enumerate(zip(*samples, strict=True))
        for number, sample in enumerate(of_row)
    ]
