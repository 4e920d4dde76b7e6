"""A process that kills a map in batches at each of its crash points, goes on, and says what it found.

    python batch_sweep.py ROOT_URL MODEL DIRECTORY          one JSON line for each point
    python batch_sweep.py ROOT_URL MODEL DIRECTORY first    one for the first passing of each point
    python batch_sweep.py ROOT_URL MODEL DIRECTORY POINT    killed there, given up, and row 1 asked for again by name
    python batch_sweep.py ROOT_URL MODEL DIRECTORY POINT on killed there, and gone on

Every point has an API key of its own, so that the server can say what was made for it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.session import open_session
from po_jupyter.llm.batches.protocol import batch_api_of
from po_jupyter.llm.money.pricing import LIST_PRICES
from po_jupyter.llm.money.tokens import estimate
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.structured.parsing import answer_validator
from po_jupyter.model.run.events import draft
from po_jupyter.store.disk.store import DiskStore
from tests.crash.crash_sweep import count, die_at, in_child
from tests.support.engine import RUN, new_run

ROWS = 4
VENDORS = ("OPENAI", "ANTHROPIC", "GEMINI", "MISTRAL")
SCHEMA = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["good"]}}}
TASK = {
    "name": "m", "prompt": "row {{ item }}", "for_each": "{{ seed.rows }}", "mode": "batch", "output": SCHEMA,
    "budget": {"tokens": 100_000},
}  # fmt: skip
QUICK = {"batch_poll_min": 0.01, "batch_poll_max": 0.02, "batch_grace": 0.03}


def opened(at: Path) -> DiskStore:
    return DiskStore(at / "store", shards=1)


def setup(at: Path, model: str) -> None:
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir(parents=True)
    store = opened(at)
    pipeline = {"name": "p", "llm": {"model": model, "max_tokens": 50}, "tasks": [TASK]}
    new_run(store, pipeline, {"rows": list(range(ROWS))})
    store.close()


async def _go(at: Path, root: str, key: str) -> str:
    store = opened(at)
    environ = {"OPENAI_BASE_URL": f"{root}/v1", "OPENAI_API_KEY": key}
    environ |= {"ANTHROPIC_BASE_URL": root, "ANTHROPIC_API_KEY": key}
    environ |= {"GEMINI_BASE_URL": root, "GEMINI_API_KEY": key}
    environ |= {"MISTRAL_BASE_URL": f"{root}/v1", "MISTRAL_API_KEY": key}
    providers = Providers(environ)
    lease = store.claim(RUN, {"pid": 1})
    session = await open_session(store, lease, settings=Settings(data_dir=at, **QUICK), providers=providers)
    state = await RunExecutor(session).run()
    await session.aclose()
    await providers.aclose()
    store.close()
    return state


def go(at: Path, root: str, key: str) -> str:
    return asyncio.run(_go(at, root, key))


def outcome_of(at: Path) -> dict[str, Any]:
    """What the log says at the end."""
    store = opened(at)
    history = read_history(store, RUN)
    records = list(store.records(RUN))
    task = history.state.tasks["m"]
    answers = Counter(c["key"] for r in records for c in r["calls"] if c["kind"] == "response")
    items = Counter(i["index"] for r in records for i in r["items"])
    offsets = [e["offset"] for e in store.events(RUN, limit=10_000)]
    assert offsets == list(range(1, len(offsets) + 1))
    outputs = [store.payload(RUN, row.output) for _, row in sorted(history.rows["m"].items())]
    assert history.calls.get("m", {}) == {}
    spent = history.spent.of_tasks()["m"]
    assert spent.tokens == task.usage.input_tokens + task.usage.output_tokens, (spent, task.usage)
    store.close()
    return {
        "outputs": outputs, "items": items, "calls": len(answers), "most": max(answers.values()),
        "usage": task.usage.calls, "unknown": task.usage.unknown, "open": sorted(task.batches),
    }  # fmt: skip


def ask_again(at: Path) -> None:
    """Give the run up, as after too many deaths, and resume it with row 1."""
    store = opened(at)
    store.request(RUN, [draft("run.dead", error={"code": "worker_died", "message": "killed"})], state="dead")
    rows = {"m": {"rows": "1", "done": 0, "failed": 1}}
    resumed = draft("run.resumed", reset=["m"], clear=[], keep=["m"], rows=rows, by="me")
    store.request(RUN, [resumed], state="pending")
    store.close()


def main(root: str, model: str, directory: str, point: str = "", on: str = "") -> None:
    at = Path(directory)
    # What a worker imports when it first needs it: once here instead of in each child.
    provider = Providers({f"{name}_API_KEY": "x" for name in VENDORS}).get(model)
    assert batch_api_of(provider) is not None
    LIST_PRICES.is_priced(model)
    answer_validator(SCHEMA).violations({})
    estimate("x")
    in_child(lambda: setup(at, model))
    if point not in ("", "first") and not on:
        in_child(lambda: setup(at, model))
        report: dict[str, Any] = {"killed": die_at((point, 1), lambda: go(at, root, "key"))}
        in_child(lambda: ask_again(at))
        report["state"] = in_child(lambda: go(at, root, "key"))[1]
        print(json.dumps(report | in_child(lambda: outcome_of(at))[1]))
        return
    points = [(point, 1)] if on else count(lambda: go(at, root, "count"))
    if point == "first":
        points = [(name, passing) for name, passing in points if passing == 1]
    for n, point in enumerate(points):
        key = f"key-{n}"
        in_child(lambda: setup(at, model))
        report = {"point": f"{point[0]}:{point[1]}", "key": key}
        report["killed"] = die_at(point, lambda key=key: go(at, root, key))
        report["state"] = in_child(lambda key=key: go(at, root, key))[1]
        report |= in_child(lambda: outcome_of(at))[1]
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
