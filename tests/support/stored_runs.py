"""A run in a store, as a submit leaves it, for tests of what happens to it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from po_jupyter.model.run.events import draft
from po_jupyter.store.protocol import Head, NewRun, Store

RUN = "0123456789abcdef012345"
TASK = {"name": "one", "source": "def ingestion(ctx):\n    return 1\n"}


def store_run(store: Store, *, run: str = RUN, tasks: Sequence[dict[str, Any]] = (TASK,)) -> Head:
    """Create a run of Python tasks (one, if not told otherwise)."""
    created = draft(
        "run.created", name="s", pipeline="p", version="1.0.0", owner="", budget={},
        tasks=[{"name": task["name"], "kind": "python"} for task in tasks],
    )  # fmt: skip
    definition = {
        "pipeline": {"name": "p", "tasks": list(tasks)},
        "seed": {"name": "s", "data": {}},
        "options": {},
    }
    return store.create_run(NewRun(run, "", "p", "1.0.0", "s", 0, definition, [created]))[0]
