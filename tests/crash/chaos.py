"""Chaos: many runs while a monkey kills, stops and suspends processes and fills the disk.

    python -m tests.crash.chaos --seconds 600 --runs 200 [--seed N]

The servers are real ones, headless Jupyter servers with our extension; runs are submitted, decided, cancelled
and followed over HTTP with the product's client. Beside that the log is watched in the store itself.

The same seed does the same to the same runs at the same instants; what the machine makes of it differs a
little. The report says what was done and what was evidence.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.errors import Conflict, NotFound, StoreError, Unavailable
from po_jupyter.model.run.view import ENDED
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Commit
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.crash.chaos_checks import Evidence, digest
from tests.crash.chaos_host import Host, HostGone
from tests.crash.chaos_monkey import Disk, Monkey, family, script
from tests.crash.chaos_plans import BAD, TIMEOUT, USED, Plan, plan
from tests.crash.chaos_stream import Followed

GRACE = 2.0
END_PATIENCE = 90.0  # s that a follower may need to hear of an end: a stopped server is noticed after 45 s
STUCK = 60.0  # s without a new record anywhere, after the monkey has gone: what is open then is lost


@dataclass
class Report:
    """What was done and what was evidence."""

    seed: int
    seconds: float
    runs: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"PO_CHAOS_SEED={self.seed}, {self.seconds:.0f} s, {self.runs} runs: {self._said(self.ended)}"]
        lines += [f"  done: {self._said(self.done)}", f"  seen: {self._said(self.numbers)}"]
        lines += [f"  PROBLEM {line}" for line in self.problems] or ["  found: nothing wrong"]
        return "\n".join(lines)

    @staticmethod
    def _said(counts: Any) -> str:
        return ", ".join(f"{name} {n:g}" for name, n in sorted(counts.items()))


class Chaos:
    """One chaos: a data directory, servers, runs, a monkey. `go` does all of it and answers the report."""

    def __init__(self, folder: Path, *, seed: int, seconds: float, runs: int, gap: float = 0.9) -> None:
        self.data_dir = folder / "data"
        self.seed, self.seconds = seed, seconds
        dice = random.Random(seed)
        self.plans = [plan(i, dice) for i in range(runs)]
        self.starts = sorted(dice.uniform(0.0, seconds * 0.9) for _ in range(runs))
        self.strokes = script(dice, seconds, gap)
        self.lease_ttl = 2.0
        self.hung_after = TIMEOUT + GRACE
        self.settings = Settings(
            data_dir=self.data_dir, heartbeat=0.3, lease_ttl=self.lease_ttl, store_shards=4, max_running=8,
            orphan_timeout=8.0, silence_grace=GRACE, max_crashes=20, spawn_attempts=10, spawn_delay=0.2,
            cancel_timeout=4.0, requests_per_minute=1_000_000, shutdown_timeout=2.0,
        )  # fmt: skip
        self.folder = folder
        self.hosts: list[Host] = []
        self._started: list[Host] = []
        self.followed: dict[str, Followed] = {}  # by run
        self.open: dict[str, Plan] = {}  # by run
        self.all: dict[str, Plan] = {}
        self.seen: dict[str, list[str]] = {}
        self.report = Report(seed, seconds, runs)
        self._deciding: set[str] = set()
        self._asked: set[asyncio.Task[None]] = set()
        self._turn = 0
        self._starting = asyncio.Lock()
        self._began = time.monotonic()
        self._moved = self._began
        self._log = (folder / "chaos.log").open("a", encoding="utf-8")

    def say(self, text: str) -> None:
        """Into chaos.log, with the time."""
        self._log.write(f"{time.monotonic() - self._began:7.2f} {text}\n")
        self._log.flush()

    async def go(self) -> Report:
        """Everything, to the checks."""
        self.disk = Disk(self.data_dir)
        self.monkey = Monkey(self, self.say)
        with ModelServer(_answer, latency=0.1) as self.model:
            self.environ = {"OPENAI_BASE_URL": self.model.base_url, "OPENAI_API_KEY": self.model.key}
            await self.add_host()
            self.store = DiskStore(self.data_dir / "store")
            keeping = [asyncio.create_task(self._keep()), asyncio.create_task(self._watch())]
            try:
                submitting = asyncio.create_task(self._submit())
                await self.monkey.play(self.strokes)
                await self.monkey.heal()
                await submitting
                await self._all_ended()
                await asyncio.gather(*self._asked)
                await self._check()
            finally:
                for task in keeping:
                    task.cancel()
                await asyncio.gather(*keeping, return_exceptions=True)
                await self.monkey.heal()
                await self._leave()
                self.store.close()
        return self.report

    def close(self) -> None:
        """Give the disk back."""
        self._log.close()
        self.disk.close()

    # -- servers --------------------------------------------------------------------------------
    async def add_host(self) -> None:
        async with self._starting:
            host = await Host.start(self.settings, self.environ, self.folder)
            self.say(f"server {host.identity['pid']}")
            self.hosts.append(host)
            self._started.append(host)

    async def _keep(self) -> None:
        """There is always one server, as a supervisor of services would have it."""
        while True:
            self.hosts = [h for h in self.hosts if h.alive]
            if not self.hosts:
                with suppress(HostGone):
                    await self.add_host()
            await asyncio.sleep(0.1)

    async def ask(self, op: str, **fields: Any) -> Any:
        """Ask a server, and another one when that fails, as a client does."""
        until = time.monotonic() + 180
        while True:
            hosts = [h for h in self.hosts if h.alive]
            self._turn += 1
            if hosts:
                try:
                    return await hosts[self._turn % len(hosts)].ask(op, patience=8.0, **fields)
                except (HostGone, StoreError, Unavailable, TimeoutError) as error:
                    self.say(f"asked for {op}: {error!r:.160}")
                    if time.monotonic() > until:
                        raise
            await asyncio.sleep(0.2)

    def endpoint(self) -> Any:
        """Where a server is now, for a client that lost its own; None when there is none."""
        hosts = [h for h in self.hosts if h.alive]
        self._turn += 1
        return hosts[self._turn % len(hosts)].endpoint if hosts else None

    async def _leave(self) -> None:
        for followed in self.followed.values():
            await followed.close()
        for host in self.hosts:
            try:
                await host.stop()
            except TimeoutError:
                self.report.problems.append("a server did not stop")
                await host.kill()
        for host in self._started:
            await host.close()
        for _ in range(100):
            if not (processes := family(self.data_dir)):
                break
            await asyncio.sleep(0.1)
        else:
            self.report.problems.append(f"left behind: {processes}")

    # -- runs -----------------------------------------------------------------------------------
    async def _submit(self) -> None:
        async with asyncio.TaskGroup() as group:
            for made, at in zip(self.plans, self.starts, strict=True):
                await asyncio.sleep(max(0.0, self._began + at - time.monotonic()))
                group.create_task(self._submit_one(made))

    async def _submit_one(self, made: Plan) -> None:
        answer = await self.ask("submit", body=made.body())
        run = answer["run"]
        self.say(f"run {made.key} {made.kind} is {run}")
        if run in self.all:
            self.report.problems.append(f"{run} answers two submits")
        self.seen[run] = []
        self.all[run] = self.open[run] = made
        decide = made.decision and (lambda: self._decide(run, made))
        self.followed[run] = Followed(run, self.endpoint, self.say, on_gate=decide or None)
        if made.cancel_after is not None:
            await asyncio.sleep(made.cancel_after)
            with suppress(Conflict):
                await self.ask("cancel", run=run)

    async def _watch(self) -> None:
        """Look at the log in the store, and remember what it said."""
        while True:
            for run in list(self.open):
                try:
                    await asyncio.to_thread(self._look, run)
                except StoreError as error:
                    self.say(f"cannot look: {error.message}")
                except NotFound:
                    self.report.problems.append(f"{self.open.pop(run).key}: acknowledged, and not found: {run}")
            await asyncio.sleep(0.25)

    def _look(self, run: str) -> None:
        seen, made = self.seen[run], self.open[run]
        head = self.store.head(run)
        for record in self.store.records(run, after=len(seen)):
            seen.append(digest(record))
            self._moved = time.monotonic()
        if head["state"] in ENDED:
            del self.open[run]
            self.say(f"run {made.key} {head['state']}")

    def _decide(self, run: str, made: Plan) -> None:
        """The stream said that a gate is open: decide it, at once or when the run waits already."""

        async def decide() -> None:
            await asyncio.sleep(made.decide_after)
            with suppress(Conflict):  # of a decision whose answer was lost
                await self.ask("gate", run=run, decision=made.decision)

        if run not in self._deciding:
            self._deciding.add(run)
            self._asked.add(asyncio.create_task(decide()))

    async def steal(self, run: str) -> bool:
        def take() -> bool:
            if self.store.head(run)["state"] not in ("pending", "running"):
                return False
            lease = self.store.claim(run, {"pid": 0, "host": "another machine"})
            self.store.commit(lease, Commit(release=True))
            return True

        try:
            return await asyncio.to_thread(take)
        except StoreError:
            return False

    async def held_by_another(self, run: str, pid: int, patience: float) -> bool:
        until = time.monotonic() + patience
        while time.monotonic() < until:
            with suppress(StoreError):
                head = await asyncio.to_thread(self.store.head, run)
                holder = head["holder"]
                if head["state"] in ENDED or (holder is not None and holder["pid"] not in (0, pid)):
                    return True
            await asyncio.sleep(0.1)
        return False

    async def _all_ended(self) -> None:
        self._moved = time.monotonic()
        while self.open and time.monotonic() - self._moved < STUCK:
            await asyncio.sleep(0.2)
        for run, made in self.open.items():
            head = self.store.head(run)
            self.report.problems.append(f"{made.key} ({made.kind}): lost: {head}")
        until = time.monotonic() + END_PATIENCE
        for run, followed in self.followed.items():
            if run not in self.open and not await followed.ended(until - time.monotonic()):
                self.report.problems.append(
                    f"{self.all[run].key}: whoever followed {run} never heard of its end"
                )

    # -- the end --------------------------------------------------------------------------------
    async def _check(self) -> None:
        report = self.report
        requests: dict[str, Counter[str]] = {}
        for request in self.model.requests:
            requests.setdefault(request.prompt.split(" ")[0], Counter())[request.prompt] += 1
        stored = {h["run"] for h in self.store.runs(limit=100_000).heads}
        if stored != set(self.all):
            report.problems.append(f"runs that nobody asked for, or that are gone: {stored ^ set(self.all)}")
        listed = await self.ask("list")
        if sorted(listed) != sorted(self.all):
            report.problems.append(f"the list says something else: {set(listed) ^ set(self.all)}")
        numbers: Counter[str] = Counter()
        for run, made in self.all.items():
            if run in self.open:
                continue
            records = await asyncio.to_thread(lambda run=run: list(self.store.records(run)))
            try:
                view, outputs = await self.ask("view", run=run), await self.ask("outputs", run=run)
            except NotFound:
                report.problems.append(f"{made.key}: acknowledged, and not found")
                continue
            evidence = Evidence(made, records, view, outputs, requests.get(made.key, Counter()), self.seen[run])
            followed = self.followed[run]
            problems = [*evidence.problems(), *followed.problems(made.key, records)]
            report.problems += [f"{line} [{run}]" for line in problems]
            report.ended[view["state"]] += 1
            numbers["records"] += len(records)
            numbers["records watched"] += len(self.seen[run])
            numbers["events streamed"] += followed.offset
            numbers["streams lost"] += followed.lost
            numbers["calls answered"] += len(evidence.answered)
            numbers["calls repeated"] += sum(max(0, n - 1) for n in evidence.intents.values())
            numbers["requests"] += sum(evidence.requests.values())
            numbers["rows"] += sum(len(r["items"]) for r in records)
            numbers["crashes told"] += evidence.types["worker.crashed"]
            numbers["workers"] += evidence.types["run.started"]
        numbers["seconds"] = round(time.monotonic() - self._began)
        report.numbers, report.done = dict(numbers), self.monkey.done

    async def __aenter__(self) -> Chaos:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


def _answer(body: dict[str, Any], _: int) -> Reply:
    prompt = str(body["messages"][-1]["content"])
    if BAD in prompt:
        return Reply(status=400, error="this prompt is refused")
    return Reply(text=f"echo: {prompt}", usage=USED)


def seed_of(environ: Any = os.environ) -> int:
    """`PO_CHAOS_SEED`, or a new one."""
    return int(environ.get("PO_CHAOS_SEED") or random.SystemRandom().randrange(2**31))


async def run(
    folder: Path, *, seed: int, seconds: float, runs: int, gap: float = 0.9, keep: Path | None = None
) -> Report:
    """One chaos in `folder`. When something is wrong its logs are copied to `keep`."""
    async with Chaos(folder, seed=seed, seconds=seconds, runs=runs, gap=gap) as chaos:
        wrong = True
        try:
            report = await chaos.go()
            wrong = bool(report.problems)
        finally:
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"chaos-{seed}.txt").write_text(f"{chaos.report}\n")
                if wrong:
                    shutil.copytree(folder, keep / f"chaos-{seed}", dirs_exist_ok=True, ignore=_sockets)
        return report


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [n for n in names if (Path(folder) / n).is_socket() or n == "balloon"]


def main() -> int:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--gap", type=float, default=0.9, help="seconds between two strokes, on average")
    parser.add_argument("--keep", type=Path, default=Path("test-artifacts"))
    options = parser.parse_args()
    seed = seed_of() if options.seed is None else options.seed
    print(f"PO_CHAOS_SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="po-chaos-") as folder:
        report = asyncio.run(
            run(
                Path(folder),
                seed=seed,
                seconds=options.seconds,
                runs=options.runs,
                gap=options.gap,
                keep=options.keep,
            )
        )
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
