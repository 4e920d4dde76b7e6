"""Interim, until engine/work.py and engine/drive.py are there: tasks sleep for `config.seconds` and say their name."""
# ruff: noqa
# mypy: ignore-errors
from __future__ import annotations

import asyncio
import os
import time

from po_jupyter.engine.decide import End, Start, decide
from po_jupyter.engine.state import RunState, fold
from po_jupyter.model.event import draft
from po_jupyter.model.reading import check_pipeline
from po_jupyter.store.base import Commit


class Work:
    @classmethod
    async def load(cls, store, lease, *, settings, providers, say, watched, run_dir):
        self = cls()
        self.store, self.lease, self.run_dir, self.say = store, lease, run_dir, say
        self.pipeline = check_pipeline((await asyncio.to_thread(store.definition, lease.run))["pipeline"])
        self.state = RunState(lease.run)
        self.draining = False
        self.read()
        return self

    def read(self):
        while events := self.store.events(self.lease.run, since=self.state.offset, limit=1000):
            self.state = fold(self.state, events)

    def cancel_hint(self):
        self.read()

    def drain(self):
        self.draining = True

    async def commit(self, commit):
        await asyncio.to_thread(self.store.commit, self.lease, commit)
        self.read()


async def drive(work):
    await work.commit(Commit(events=[draft("run.started", pid=os.getpid(), fence=work.lease.fence)], state="running"))
    while True:
        if work.draining:
            await asyncio.to_thread(work.store.commit, work.lease, Commit(release=True))
            return "released"
        step = next(iter(decide(work.pipeline, work.state)), None)
        if isinstance(step, End):
            data = {"error": step.error} if step.error else {}
            await work.commit(Commit(events=[draft(f"run.{step.state}", **data)], state=step.state, release=True))
            return step.state
        task = work.pipeline.task(step.task)
        await work.commit(Commit(events=[draft("task.started", task.name, attempt=step.attempt)]))
        if task.config.get("child"):
            import subprocess, sys
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            open(task.config["child"], "w").write(str(child.pid))
        if task.config.get("crash"):
            os.kill(os.getpid(), 9)
        if task.config.get("block"):
            time.sleep(task.config["block"])
        ends = time.monotonic() + task.config.get("seconds", 0)
        while time.monotonic() < ends and not work.draining and not work.state.cancel_requested:
            await asyncio.sleep(0.02)
        if work.draining or work.state.cancel_requested:
            continue
        if task.config.get("fail") and not os.path.exists(task.config["fail"]):
            await work.commit(Commit(events=[draft("task.failed", task.name, error={"code": "stage_failed", "message": "no"})]))
            continue
        gate = [draft("gate.opened", task.name, message=task.gate.message, artifacts=[])] if task.gate else []
        await work.commit(Commit(events=[draft("task.done", task.name, output=0, seconds=0.0), *gate], payloads=[{"said": task.name, "cwd": os.getcwd()}]))


def check(pipeline, seed):
    return None
