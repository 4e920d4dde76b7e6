"""A process that kills a scenario at each of its crash points, recovers, and says what it found (R2.3).

    python crash_sweep.py SCENARIO DIRECTORY [DATABASE-URL]      one JSON line for each killed process

With the URL of a PostgreSQL database the stores are in that server: each copy of a directory has a database of its own.

It has one thread and never opens a store itself, so that it can fork; everything else happens in its children.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from po_jupyter.engine.replay import run_log
from po_jupyter.platform import crashpoints
from po_jupyter.store import group_commit as group
from tests.crash import row_scenarios  # noqa: F401  # which are among SCENARIOS
from tests.crash.crash_scenarios import DATABASE, SCENARIOS, Scenario

_LIMIT = 60  # s for one child
# How many commits a run makes depends a little on time. This many more than were counted are looked for.
_MORE = 20
# So often a point is aimed at: threads of stages decide which of them share a transaction.
_TRIES = 6
_COUNTS = 3  # runs whose points are counted
# An event that need not be durable at once goes with the next commit, never 50 ms later with one of its own.
run_log._LINGER = 3600.0
# A transaction for each commit: which of them would share one is a matter of microseconds, and then a point that was
# counted may not be there the next time.
group.MOST = 1


def in_child(work: Callable[[], Any]) -> tuple[int, Any]:
    """`work()` in a forked process: (wait status, its result). A result that is an error is raised here."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        signal.alarm(_LIMIT)
        try:
            outcome = {"result": work()}
        except BaseException:
            outcome = {"error": traceback.format_exc()}
        with os.fdopen(write_end, "w") as pipe:
            pipe.write(json.dumps(outcome))
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not text:
        return status, None
    outcome = json.loads(text)
    if "error" in outcome:
        raise RuntimeError(outcome["error"])
    return status, outcome["result"]


def killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def count(work: Callable[[], Any]) -> list[tuple[str, int]]:
    """The points that `work` passes, each with which passing of its name it is."""

    def counted() -> list[str]:
        with crashpoints.passing() as names:
            work()
            return list(names)

    _, names = in_child(counted)
    seen: Counter[str] = Counter()
    points = []
    for name in names:
        seen[name] += 1
        points.append((name, seen[name]))
    return points


def die_at(point: tuple[str, int], work: Callable[[], Any]) -> bool:
    """Run `work` armed; whether the point was reached."""

    def armed() -> None:
        crashpoints.arm(*point)
        work()

    status, _ = in_child(armed)
    return killed(status)


class Databases:
    """The databases of one server, each for a directory: a copy of the directory has a copy of it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._count = 0

    def make(self, at: Path, source: Path | None = None) -> None:
        """A new one for `at`, empty or a copy of that of `source`; its old one goes."""
        self._count += 1
        name, template = f"sweep{os.getpid()}_{self._count}", "template0"
        if source is not None:
            template = self._name((source / DATABASE).read_text())
        in_child(lambda: self._create(name, template))
        (at / DATABASE).write_text(self._url.replace("/postgres?", f"/{name}?"))

    def drop(self, at: Path) -> None:
        if (at / DATABASE).exists():
            name = self._name((at / DATABASE).read_text())
            in_child(lambda: self._execute(f'DROP DATABASE "{name}" WITH (FORCE)'))

    @staticmethod
    def _name(url: str) -> str:
        return url.rpartition("?")[0].rpartition("/")[2]

    def _create(self, name: str, template: str) -> None:
        # A killed process's backend may live a moment longer.
        self._execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'")
        for _ in range(100):
            try:
                self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
                return
            except psycopg.errors.ObjectInUse:
                time.sleep(0.05)
        raise AssertionError(f"{template} is in use")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)


def sweep(scenario: Scenario, base: Path, *, nested: bool, url: str | None = None) -> None:
    setup, at, crashed = base / "setup", base / "at", base / "crashed"
    setup.mkdir(parents=True)
    databases = None if url is None else Databases(url)
    if databases is not None:
        databases.make(setup)
    in_child(lambda: scenario.setup(setup))

    def fresh(source: Path, target: Path) -> Path:
        if databases is not None:
            databases.drop(target)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, symlinks=True)
        if databases is not None:
            databases.make(target, source)
        return target

    # The first time a process does it is the slowest, and a slow one may commit more often: what each of them passes.
    counted = []
    for _ in range(_COUNTS):
        fresh(setup, at)
        counted.append(count(lambda: scenario.act(at)))
    points = [p for p in min(counted, key=len) if p[0].startswith(scenario.only)]
    last, end = points[-1], points[-1][1] + _MORE
    while points:
        point = points.pop(0)
        extra = point[0] == last[0] and point[1] > last[1]
        for _ in range(1 if extra else _TRIES):
            fresh(setup, at)
            if reached := die_at(point, lambda: scenario.act(at)):
                break
        if not reached and not extra:
            # Counted when this machine had other work, and commits that come together are fewer.
            fresh(setup, at)
            again = count(lambda: scenario.act(at))
            if point not in again:
                points = [p for p in points if p in again]
                continue
        if reached and not points and last[0] == point[0] and point[1] < end:
            points.append((point[0], point[1] + 1))  # until it lives to its end: see _MORE
        report: dict[str, Any] = {"point": f"{point[0]}:{point[1]}", "killed": reached, "extra": extra}
        if nested and reached:
            fresh(at, crashed)
            report["again"] = 0
            fresh(crashed, at)
            for second in count(lambda: scenario.recover(at)):
                fresh(crashed, at)
                report["again"] += die_at(second, lambda: scenario.recover(at))
                in_child(lambda: (scenario.recover(at), scenario.check(at)))
            fresh(crashed, at)
        report["state"] = in_child(lambda: (scenario.recover(at), scenario.check(at))[1])[1]
        in_child(lambda: scenario.finish(at))
        print(json.dumps(report), flush=True)


def main(name: str, directory: str, url: str | None = None) -> None:
    scenario = SCENARIOS[name]
    sweep(scenario, Path(directory), nested=scenario.nested, url=url)


if __name__ == "__main__":
    main(*sys.argv[1:])
