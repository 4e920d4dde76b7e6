"""Who is killed when, how long it took until somebody went on, and whether all is right in the end."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles

from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.protocol import Head, Ref
from tests.distributed.chaos.cluster import TASKS, Cluster, prompt_of, soon
from tests.support.nodes import TTL

BOUND = TTL + 2.0  # s until a run is taken over
PATIENCE = 20.0  # s that it is waited for
CRASHES = 3  # in a row: a run is given up
# What is killed, and how often in proportion.
VICTIMS = {
    "worker": 9,
    "node": 3,
    "node, its workers live on": 2,
    "serving node": 2,
    "broker": 2,
    "database": 2,
}


@dataclass
class Report:
    """What was found. Durations are in seconds, from the kill until a process works on the run again."""

    kills: Counter[str] = field(default_factory=Counter)
    takeovers: dict[str, list[float]] = field(default_factory=dict)
    runs: int = 0
    calls: int = 0
    repeated: int = 0  # calls in flight at a kill, whose answer nobody recorded
    refused: int = 0
    dead: int = 0  # runs given up after as many kills in a row as that takes, and resumed by hand
    waits: list[float] = field(default_factory=list)  # from the submission to the first task
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> JsonObject:
        return {
            "kills": dict(self.kills), "killed": self.kills.total(),
            "takeover": {kind: spread(found) for kind, found in self.takeovers.items()},
            "queued": spread(self.waits), "runs": self.runs, "calls": self.calls, "repeated": self.repeated,
            "refused": self.refused, "dead": self.dead, "problems": self.problems[:20], "bound": BOUND,
        }  # fmt: skip


def spread(found: list[float]) -> JsonObject:
    """Count, median, 99th percentile, maximum, and how many fell into each half second."""
    if not found:
        return {"n": 0}
    cuts = quantiles(found, n=100, method="inclusive") if len(found) > 1 else found * 99
    bars = Counter(int(value * 2) / 2 for value in found)
    return {
        "n": len(found), "p50": round(cuts[49], 2), "p99": round(cuts[98], 2), "max": round(max(found), 2),
        "histogram": {str(start): bars[start] for start in sorted(bars)},
    }  # fmt: skip


def play(folder: Path, broker: str, kills: int, dice: random.Random, keep: Path | None = None) -> Report:
    """So many kills over one broker, and the end of all runs. Where something was wrong the logs go to `keep`."""
    report = Report()
    with Cluster(folder, broker) as cluster:
        monkey = _Monkey(cluster, report, dice)
        assert soon(cluster.at_work, 60.0), (cluster.refused, [node.log() for node in cluster.nodes.values()])
        for _ in range(kills):
            time.sleep(dice.expovariate(1 / 0.3))
            monkey.strike()
        monkey.restart_all()
        left = cluster.finish(90.0)
        left += monkey.resume_dead()
        report.problems += [f"run {head['run']} is {head['state']} at the end" for head in left]
        check(cluster, report)
        if report.problems and keep is not None:
            for path in folder.glob("*/logs/*.log"):
                place = keep / broker / path.parts[-3]
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)
    return report


class _Monkey:
    def __init__(self, cluster: Cluster, report: Report, dice: random.Random) -> None:
        self._cluster = cluster
        self._report = report
        self._dice = dice
        self._down: list[str] = []  # nodes
        self._hits: Counter[str] = Counter()  # kills of what worked on a run
        self._actions: dict[str, Callable[[str], None]] = {
            "worker": self._worker, "node": self._node, "node, its workers live on": self._node,
            "serving node": self._serving, "broker": self._broker, "database": self._database,
        }  # fmt: skip

    def strike(self) -> None:
        """Kill something; return when somebody works on what it worked on, and it is there again or will be."""
        self._restart_some()
        names = [name for name in VICTIMS if name != "broker" or self._cluster.broker is not None]
        kind = self._dice.choices(names, [VICTIMS[name] for name in names])[0]
        self._actions[kind](kind)
        self._report.kills[kind] += 1

    def _restart_some(self) -> None:
        """Of the nodes that died: two have to work."""
        while len(self._down) > 1:
            self._restart(self._down.pop(0))

    def restart_all(self) -> None:
        while self._down:
            self._restart(self._down.pop())

    def _restart(self, name: str) -> None:
        self._cluster.start_node(name)
        self._cluster.nodes[name].ready()

    def resume_dead(self) -> list[Head]:
        """Do what a person does with runs that were given up, where the kills were all ours; those that do not end."""
        dead = [
            run for run in self._cluster.runs.values()
            if self._cluster.store.head(run)["state"] == "dead" and self._hits[run] >= CRASHES
        ]  # fmt: skip
        self._report.dead = len(dead)
        for run in dead:
            self._cluster.resume(run)
        soon(lambda: not self._cluster.store.active(), 30.0)
        return list(self._cluster.store.active())

    # -- victims --------------------------------------------------------------------------------
    def _worker(self, kind: str) -> None:
        found: list[Head] = []
        soon(lambda: bool(found.extend(self._cluster.at_work()) or found), PATIENCE)
        if not found:
            self._report.problems.append("no run has a worker")
            return
        victim = self._dice.choice(found)
        assert victim["holder"] is not None
        of_it = [head for head in found if head["holder"] and head["holder"]["pid"] == victim["holder"]["pid"]]
        began = time.monotonic()
        self._cluster.kill_worker(victim)
        self._watch(kind, began, of_it)

    def _node(self, kind: str) -> None:
        there = [name for name in self._cluster.nodes if name not in self._down]
        name = self._dice.choice(there)
        soon(lambda: bool(self._cluster.at_work(name)), 1.0)
        of_it = [
            head for head in self._cluster.store.active()
            if head["holder"] is not None and head["holder"].get("node") == name
        ]  # fmt: skip
        began = time.monotonic()
        orphans = self._cluster.kill_node(name, orphans=kind != "node")
        if self._dice.random() < 0.5 and not orphans:
            self._cluster.start_node(name)  # at once, under the same name; it is ready later
            self._watch(kind, began, of_it)
            self._cluster.nodes[name].ready()
            return
        self._watch(kind, began, of_it)
        soon(lambda: not any(process.is_running() for process in orphans), PATIENCE)
        self._down.append(name)

    def _serving(self, kind: str) -> None:
        number = self._dice.randrange(len(self._cluster.apis))
        self._cluster.apis[number].kill()
        self._cluster.restart_api(number)

    def _broker(self, kind: str) -> None:
        assert self._cluster.broker is not None
        self._cluster.broker.kill()
        time.sleep(self._dice.random())
        self._cluster.broker.start()

    def _database(self, kind: str) -> None:
        self._cluster.database.kill()
        time.sleep(self._dice.random())
        self._cluster.restart_database()
        began = time.monotonic()
        written = sum(head["n"] for head in self._cluster.store.active())
        soon(lambda: sum(head["n"] for head in self._cluster.store.active()) != written, PATIENCE)
        self._report.takeovers.setdefault("database is back", []).append(time.monotonic() - began)

    # -- measuring ------------------------------------------------------------------------------
    def _watch(self, kind: str, began: float, victims: list[Head]) -> None:
        """Note for each run when a process works on it again, or it has ended."""
        waiting = {head["run"]: head["fence"] for head in victims}
        self._hits.update(waiting.keys())
        taken = self._report.takeovers.setdefault(kind, [])

        def look() -> bool:
            heads = {head["run"]: head for head in self._cluster.store.active()}
            for run, fence in list(waiting.items()):
                head = heads.get(run)
                works = head is not None and head["holder"] is not None and not head["holder"].get("reserves")
                if head is None or (head["fence"] > fence and works):
                    del waiting[run]
                    took = time.monotonic() - began
                    if head is not None or took > BOUND:  # one that ended may have done so before
                        taken.append(took)
                    if took > BOUND:
                        self._report.problems.append(
                            f"{run} was taken over {took:.1f} s after a kill of a {kind}, at {datetime.now(UTC):%T}"
                        )
            return not waiting

        if not soon(look, PATIENCE):
            self._report.problems += [f"{run} was not taken over after a kill of a {kind}" for run in waiting]


def check(cluster: Cluster, report: Report) -> None:
    """All runs done with the right outputs, each acknowledged one there, no answered call sent again."""
    store = cluster.store
    sent: dict[str, list[float]] = {}
    for line in cluster.calls.read_text().splitlines():
        call = json.loads(line)
        if call["event"] == "request":
            messages = call["body"].get("messages") or call["body"].get("input")
            sent.setdefault(messages[-1]["content"], []).append(call["at"])
    report.calls = sum(map(len, sent.values()))
    report.refused = len(cluster.refused)
    for number, run in sorted(cluster.runs.items()):
        report.runs += 1
        head = store.head(run)
        if head["state"] != "done":
            ends = [event["data"].get("error") for event in store.events(run) if event["type"] == "run.dead"]
            report.problems.append(f"run {number} ({run}) is {head['state']}: {ends}")
            continue
        answered: dict[str, float] = {}  # by key, when the answer was recorded
        started = created = 0.0
        for record in store.records(run):
            at = datetime.fromisoformat(record["at"]).timestamp()
            for event in record["events"]:
                if event["type"] == "run.created":
                    created = at
                elif event["type"] == "task.started" and not started:
                    started = at
            for call in record["calls"]:
                if call["kind"] == "response" and call["ok"]:
                    answered[call["key"].partition("/")[0]] = at
                    text = store.payload(run, Ref(*call["answer"]))
                    task = int(call["key"].partition("/")[0][1:])
                    if text != f"echo: {prompt_of(number, task)}":
                        report.problems.append(f"run {number} has a wrong answer: {text!r:.100}")
        report.waits.append(started - created)
        for task in range(TASKS):
            times = sent.get(prompt_of(number, task), [])
            recorded = answered.get(f"t{task}")
            if recorded is None:
                report.problems.append(f"run {number} has no answer for task {task}")
                continue
            report.repeated += len(times) - 1
            if any(at > recorded for at in times):
                report.problems.append(f"run {number}, task {task}: sent again after its answer was recorded")
    keys = Counter(cluster.runs.values())
    report.problems += [f"{run} is of two submissions" for run, count in keys.items() if count > 1]


__all__ = ["Report", "check", "play", "spread"]
