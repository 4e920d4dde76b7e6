"""The monkey: what is done to the processes and the disk, and when. All of it is drawn from one seed first."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from po_jupyter.platform import processes
from tests.crash.chaos_host import Host, HostGone

# What is done, and how often in proportion.
ACTIONS = {
    "kill a worker": 8,
    "stop a worker briefly": 2,
    "stop a worker until it is taken for hung": 2,
    "stop a worker until another one has its run": 2,
    "kill a server": 3,
    "kill everything": 1,
    "stop a server until its lease lapsed": 1,
    "restart a server gracefully": 1,
    "start a second server": 2,
    "kill a zygote": 1,
    "suspend everything": 1,
    "fill the disk": 3,
}


class Stroke(NamedTuple):
    """One thing to do, `at` seconds from the start. `aim` (0..1) picks the victim, `force` (0..1) how long."""

    at: float
    action: str
    aim: float
    force: float


def script(dice: random.Random, seconds: float, gap: float) -> list[Stroke]:
    """What happens in `seconds`, on average every `gap` seconds."""
    strokes: list[Stroke] = []
    at = dice.expovariate(1 / gap)
    while at < seconds:
        action = dice.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        strokes.append(Stroke(at, action, dice.random(), dice.random()))
        at += dice.expovariate(1 / gap)
    return strokes


class Process(NamedTuple):
    """A process of the data directory: a worker of `run`, or a zygote (`run` None)."""

    identity: processes.Identity
    run: str | None


def family(data_dir: Path) -> list[Process]:
    """Workers and zygotes, by whose log their standard error is."""
    members = []
    for name in os.listdir("/proc"):
        with suppress(OSError):
            log = Path(os.readlink(f"/proc/{name}/fd/2")) if name.isdigit() else Path()
            if log.is_relative_to(data_dir) and (identity := processes.identity_of(int(name)))["created"]:
                members.append(Process(identity, log.parent.name if log.name == "worker.log" else None))
    return sorted(members, key=lambda p: (p.run or "", p.identity["pid"]))


def signal_to(identity: processes.Identity, sig: signal.Signals) -> bool:
    """Signal this very process; False when it is gone."""
    if not processes.alive(identity):
        return False
    with suppress(ProcessLookupError):
        os.kill(identity["pid"], sig)
        return True
    return False


class Disk:
    """The disk of the data directory: a small tmpfs, filled with a file. Where nobody may mount, the processes
    are forbidden to write files instead."""

    def __init__(self, mount_point: Path, megabytes: int = 192) -> None:
        self.mount_point = mount_point
        mount_point.mkdir(mode=0o700, parents=True, exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(mount_point)]
        self.mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0

    def fill(self, identities: list[processes.Identity]) -> None:
        """Nothing can be written from now on."""
        if self.mounted:
            room = os.statvfs(self.mount_point)
            with (self.mount_point / "balloon").open("wb") as file, suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
            with (self.mount_point / "balloon").open("ab", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)):  # what the file itself left over
                    pass
        else:
            self._limit(identities, 0)

    def free(self, identities: list[processes.Identity]) -> None:
        """It can again."""
        if self.mounted:
            (self.mount_point / "balloon").unlink(missing_ok=True)
        else:
            self._limit(identities, resource.RLIM_INFINITY)

    def close(self) -> None:
        """Unmount. What was on it is gone."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.mount_point)], check=True)

    @staticmethod
    def _limit(identities: list[processes.Identity], size: int) -> None:
        for identity in identities:
            with suppress(OSError):
                resource.prlimit(identity["pid"], resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class Zoo(Protocol):
    """What the monkey plays with."""

    data_dir: Path
    disk: Disk
    hosts: list[Host]
    lease_ttl: float
    hung_after: float

    async def add_host(self) -> None:
        """Start one more server."""
        ...

    async def steal(self, run: str) -> bool:
        """Take the run away from its worker, as another machine would; False when it has ended."""
        ...

    async def held_by_another(self, run: str, pid: int, patience: float) -> bool:
        """Wait until another process has the run, or it ended."""
        ...


@dataclass
class Monkey:
    """Does what the script says; `done` counts it, `crashes` how often each run's worker was ended by it."""

    zoo: Zoo
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.crashes: Counter[str] = Counter()
        self._stopped: list[processes.Identity] = []
        self._filled = 0

    async def play(self, strokes: list[Stroke]) -> None:
        """All of it; strokes that take long overlap with the next ones."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for stroke in strokes:
                await asyncio.sleep(max(0.0, start + stroke.at - loop.time()))
                group.create_task(self._strike(stroke))

    async def heal(self) -> None:
        """Undo what may be left: nothing is stopped any more, and the disk has room."""
        for identity in self._stopped:
            signal_to(identity, signal.SIGCONT)
        self.zoo.disk.free(self._everybody())

    async def _strike(self, stroke: Stroke) -> None:
        act: Callable[[Stroke], Awaitable[str | None]] = getattr(self, "_" + stroke.action.replace(" ", "_"))
        try:
            hit = await act(stroke)
        except TimeoutError as error:
            raise AssertionError(f"{stroke.action} did not come to its end: {error}") from error
        if hit is not None:
            self.done[stroke.action] += 1
            self.say(f"{stroke.action}: {hit}")

    # -- who ------------------------------------------------------------------------------------
    def _worker(self, stroke: Stroke) -> Process | None:
        workers = [p for p in family(self.zoo.data_dir) if p.run is not None]
        return workers[int(stroke.aim * len(workers))] if workers else None

    def _host(self, stroke: Stroke) -> Host | None:
        hosts = [h for h in self.zoo.hosts if h.alive]
        return hosts[int(stroke.aim * len(hosts))] if hosts else None

    def _everybody(self) -> list[processes.Identity]:
        hosts = [h.identity for h in self.zoo.hosts if h.alive]
        return [*hosts, *(p.identity for p in family(self.zoo.data_dir))]

    async def _pause(self, identities: list[processes.Identity], seconds: float) -> None:
        stopped = [i for i in identities if signal_to(i, signal.SIGSTOP)]
        self._stopped.extend(stopped)
        await asyncio.sleep(seconds)
        for identity in stopped:
            signal_to(identity, signal.SIGCONT)

    # -- what -----------------------------------------------------------------------------------
    async def _kill_a_worker(self, stroke: Stroke) -> str | None:
        worker = self._worker(stroke)
        if worker is None or not signal_to(worker.identity, signal.SIGKILL):
            return None
        self.crashes[worker.run or ""] += 1
        return f"{worker.run}"

    async def _stop_a_worker_briefly(self, stroke: Stroke) -> str | None:
        worker = self._worker(stroke)
        if worker is None:
            return None
        seconds = 0.2 + 2.5 * stroke.force
        await self._pause([worker.identity], seconds)
        return f"{worker.run} for {seconds:.1f} s"

    async def _stop_a_worker_until_it_is_taken_for_hung(self, stroke: Stroke) -> str | None:
        worker = self._worker(stroke)
        if worker is None:
            return None
        self.crashes[worker.run or ""] += 1
        await self._pause([worker.identity], self.zoo.hung_after + 2.0)
        return f"{worker.run}"

    async def _stop_a_worker_until_another_one_has_its_run(self, stroke: Stroke) -> str | None:
        worker = self._worker(stroke)
        if worker is None or worker.run is None or not signal_to(worker.identity, signal.SIGSTOP):
            return None
        self._stopped.append(worker.identity)
        self.crashes[worker.run] += 1
        try:
            if not await self.zoo.steal(worker.run):
                return None
            # Whoever started the stopped one waits for it; a new server only sees that nobody has the run.
            for host in list(self.zoo.hosts):
                await host.kill()
            other = await self.zoo.held_by_another(worker.run, worker.identity["pid"], 10.0)
        finally:
            signal_to(worker.identity, signal.SIGCONT)
        return f"{worker.run}" + ("" if other else " (nobody took it)")

    async def _kill_a_server(self, stroke: Stroke) -> str | None:
        host = self._host(stroke)
        if host is None:
            return None
        await host.kill()
        return f"{host.identity['pid']}"

    async def _kill_everything(self, stroke: Stroke) -> str | None:
        hosts = list(self.zoo.hosts)
        for host in hosts:
            signal_to(host.identity, signal.SIGSTOP)
        for process in family(self.zoo.data_dir):
            if signal_to(process.identity, signal.SIGKILL) and process.run is not None:
                self.crashes[process.run] += 1
        for host in hosts:
            await host.kill()
        return f"{len(hosts)} servers"

    async def _stop_a_server_until_its_lease_lapsed(self, stroke: Stroke) -> str | None:
        host = self._host(stroke)
        if host is None:
            return None
        await self._pause([host.identity], self.zoo.lease_ttl * (0.5 + 2 * stroke.force))
        return f"{host.identity['pid']}"

    async def _restart_a_server_gracefully(self, stroke: Stroke) -> str | None:
        host = self._host(stroke)
        if host is None:
            return None
        await host.stop(60)
        return f"{host.identity['pid']}"

    async def _start_a_second_server(self, stroke: Stroke) -> str | None:
        if len(self.zoo.hosts) != 1:
            return None
        with suppress(HostGone):  # killed while it started, or there was no room
            await self.zoo.add_host()
            return ""
        return None

    async def _kill_a_zygote(self, stroke: Stroke) -> str | None:
        zygotes = [p for p in family(self.zoo.data_dir) if p.run is None]
        if not zygotes:
            return None
        signal_to(zygotes[int(stroke.aim * len(zygotes))].identity, signal.SIGKILL)
        return ""

    async def _suspend_everything(self, stroke: Stroke) -> str | None:
        seconds = 1.0 + 4.0 * stroke.force
        await self._pause(self._everybody(), seconds)
        return f"for {seconds:.1f} s"

    async def _fill_the_disk(self, stroke: Stroke) -> str | None:
        if self._filled:
            return None
        seconds = 0.3 + 2.5 * stroke.force
        self._filled += 1
        self.zoo.disk.fill(self._everybody())
        await asyncio.sleep(seconds)
        self.zoo.disk.free(self._everybody())
        self._filled -= 1
        return f"for {seconds:.1f} s"
