"""An output that only looks like what stands for a map's rows is an output like any other (P6)."""

from __future__ import annotations

import json
from pathlib import Path

from po_jupyter.orchestrator.control import fork
from po_jupyter.orchestrator.views.projections import RunProjections
from tests.support.engine import RUN, Bench

LOOKALIKE = {"$map": "a", "total": 3}


async def test_a_model_cannot_speak_for_a_map(tmp_path: Path) -> None:
    """P6: with a total of 10 ** 12 the orchestrator would have built that list."""
    bench = Bench(tmp_path, replies=[json.dumps(LOOKALIKE)]).create([
        {"name": "a", "prompt": "x", "output": {"type": "object"}},
        {"name": "b", "source": "def ingestion(ctx):\n    return ctx.tasks['a']\n"},
    ])  # fmt: skip
    assert await bench.go() == "done"
    views = RunProjections(bench.store)
    assert views.outputs(bench.store.head(RUN)) == {"a": LOOKALIKE, "b": LOOKALIKE}

    bench.resume("b", clear=["b"])
    assert await bench.go() == "done"
    assert views.outputs(bench.store.head(RUN), "b") == {"b": LOOKALIKE}, "read back, not at hand"

    copied = fork.copy_checkpoints(bench.store, views.state(bench.store.head(RUN)), ["a"])
    assert copied.payloads == [LOOKALIKE]
    assert [e["type"] for e in copied.events] == ["task.done"]
