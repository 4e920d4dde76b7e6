"""Going on with every run of a recording, as people and a restarted server would. What came of it is plain JSON."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.histories import opening

OWNER = "local"
KEY = "key"  # of the providers: nothing more than a word
LONGEST = 2000  # bytes of JSON that the manifest shows of one value


def small(value: Any) -> Any:
    """The value, or what names it when it is large."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    if len(text) <= LONGEST:
        return value
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "bytes": len(text)}


@contextmanager
def providers(model: str, batches: str) -> Iterator[None]:
    """The addresses of the providers, in this process and in the workers that inherit its environment."""
    wanted = {
        "OPENAI_BASE_URL": model, "OPENAI_API_KEY": KEY, "ANTHROPIC_BASE_URL": batches, "ANTHROPIC_API_KEY": KEY,
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


async def _said(service: opening.RunningOrchestrator, run: str) -> dict[str, Any]:
    view = await opening.until(service, run)
    outputs = opening.plain(await service.results.outputs(run, None))
    usage = view["usage"]
    return {
        "state": view["state"],
        "outputs": {name: small(value) for name, value in outputs.items()},
        "items": {t["name"]: [t["items"]["done"], t["items"]["failed"]] for t in view["tasks"] if t["items"]},
        "usage": {k: usage[k] for k in ("input_tokens", "output_tokens", "calls")},
        "artifacts": [a["name"] for a in await service.results.artifacts(run, None)],
    }


async def _one(service: opening.RunningOrchestrator, run: str, how: Mapping[str, Any]) -> dict[str, Any]:
    for step in how["steps"]:
        if "resume" in step:
            await service.control.resume(run, None, **step["resume"])
        elif "requeue" in step:
            await service.control.requeue(run, None)
        elif "restart" in step:
            await service.control.restart(run, None, step["restart"])
        elif "approve" in step:
            await opening.until(service, run, ("waiting",))
            await service.control.gate(run, None, "approve")
        elif "fork" in step:
            run = (await service.control.fork(run, None, step["fork"])).id
        else:
            assert step == {"recover": True}, step  # nobody has to ask for it
    return await _said(service, run)


async def _all(data_dir: Path, runs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    async with opening.orchestrator(data_dir) as service:
        letters, _ = await service.runs.dead_letters(None)
        names = [label for label, run in runs.items() if run["goes_on"]]
        ends = await asyncio.gather(
            *(_one(service, runs[label]["id"], runs[label]["goes_on"]) for label in names),
            return_exceptions=True,
        )
    found = {
        label: {"problem": repr(end)} if isinstance(end, BaseException) else end
        for label, end in zip(names, ends, strict=True)
    }
    return found, [letter["id"] for letter in letters]


async def _again(data_dir: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    async with opening.orchestrator(data_dir) as service:
        same, created = await service.submissions.submit({**asked, "idempotency_key": "history"}, owner=OWNER)
        fresh, _ = await service.submissions.submit(dict(asked), owner=OWNER)
        said = await _said(service, fresh.id)
        view = await service.runs.get(fresh.id, None)
        registered = await opening.registered(service, str(asked["pipeline"]), OWNER)
    return {
        "same_run": same.id,
        "created": created,
        "again": {**said, "cached_calls": view.usage.cached_calls},
        "reused": {t.name: t.items.reused for t in view.tasks if t.items is not None},
        "registered": None if registered is None else registered["revision"],
    }


def go_on(data_dir: Path, recording: Mapping[str, Any]) -> dict[str, Any]:
    """Go on with everything at once, then ask for the same again at the address of the recording's provider, where
    nobody listens now.

    `{ends: {LABEL: what came of it}, dead_letters: [ids, before], asked: {LABEL: [prompts that the provider got]},
    batches: how many there are at the provider, again}`.
    """
    labels = sorted(recording["runs"], key=len, reverse=True)
    asked: dict[str, list[str]] = {}
    with opening.ModelServer() as model, opening.BatchServer() as batches:
        opening.remember(batches, recording["batches"], KEY)
        with providers(model.base_url, batches.root_url):
            ends, letters = asyncio.run(_all(data_dir, recording["runs"]))
        for request in model.requests:
            label = next((name for name in labels if request.prompt.startswith(f"{name}:")), "")
            asked.setdefault(label, []).append(request.prompt)
        made = len(batches.batches())
        with providers(recording["model_url"], batches.root_url):
            again = asyncio.run(_again(data_dir, recording["submitted"]))
    return {
        "ends": ends,
        "dead_letters": letters,
        "asked": {label: sorted(prompts) for label, prompts in sorted(asked.items())},
        "batches": made,
        "again": again,
    }
