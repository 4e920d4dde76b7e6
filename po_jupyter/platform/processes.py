"""Processes: their identities, whether one still lives, and the end of one with its whole group.

A pid alone says little: it is used again. An *identity* is `{pid, created, boot, host}`; `created` is the
start time as the kernel counts it (clock ticks since boot on Linux, so that a clock that is set changes
nothing).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NotRequired, TypedDict

_LINUX = sys.platform == "linux"


class Identity(TypedDict):
    """A process of one boot of one host. `node` names the server of a shared store that it belongs to; `reserves`: it
    is that server itself, which took a run for a worker that it starts; `shared`: it works on other runs too, so it is
    never ended for one of them."""

    pid: int
    created: float | None
    boot: str
    host: str
    shared: NotRequired[bool]
    node: NotRequired[str]
    reserves: NotRequired[bool]


@lru_cache(maxsize=1)
def boot() -> str:
    """The id of this boot of this machine."""
    if _LINUX:
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        except OSError:
            pass
    import psutil

    return str(round(psutil.boot_time()))


def created(pid: int) -> float | None:
    """The start time of a process, or None when there is none (a zombie is none: it cannot work any more)."""
    if _LINUX:
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            return None
        fields = stat.rpartition(b")")[2].split()  # the name before it may hold anything
        return None if fields[0] in (b"Z", b"X") else float(fields[19])
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def identity_of(pid: int) -> Identity:
    """The identity of a process of this machine; `created` is None when it is gone already."""
    return {"pid": pid, "created": created(pid), "boot": boot(), "host": socket.gethostname()}


def myself() -> Identity:
    """The identity of this process."""
    return identity_of(os.getpid())


def is_local(identity: Mapping[str, object]) -> bool:
    """True for a process of this host: of others nobody here knows whether they live."""
    return identity.get("host") == socket.gethostname()


def alive(identity: Mapping[str, object] | None) -> bool:
    """Does this very process live here, now? False for one of another host or an earlier boot."""
    if not identity or not is_local(identity) or identity.get("boot") != boot():
        return False
    pid = identity.get("pid")
    start = created(pid) if isinstance(pid, int) else None
    return start is not None and start == identity.get("created")


def started_at(pid: int, epoch: float | None) -> bool:
    """Does the process `pid` live here, and was it started at `epoch` (seconds since 1970; None: at any time)?

    The start time tells two processes of one pid apart. For processes known by a clock's time; those with an
    identity are asked with `alive`.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return epoch is None or abs(process.create_time() - epoch) < 1.0
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def end_group(identity: Identity, sig: int = signal.SIGKILL) -> bool:
    """Signal the group that this process leads (or the process alone, when it leads none); False when it is
    gone."""
    pid = identity["pid"]
    if not alive(identity) or pid in (0, 1, os.getpid()):
        return False
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, sig)
        else:
            os.kill(pid, sig)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def send_signal(identity: Identity, sig: int) -> bool:
    """Signal this very process, none of its group: children finish what they do. False when it is gone."""
    pid = identity["pid"]
    if not alive(identity) or pid in (0, 1, os.getpid()):
        return False
    try:
        os.kill(pid, sig)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def end_leftovers(pid: int) -> int:
    """Kill the processes that a dead leader of a session left behind in it (children of user code); their number."""
    import psutil

    if psutil.pid_exists(pid):
        return 0  # not dead yet, or its number is somebody else's by now
    return _end_session(pid)


def end_own_leftovers() -> int:
    """Kill the other processes of the session that this process leads, before it exits; their number."""
    return _end_session(os.getpid())


def _end_session(session: int) -> int:
    import psutil

    killed = 0
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and os.getsid(process.pid) == session:
                process.kill()
                killed += 1
        except (psutil.Error, OSError):
            continue
    return killed


def wait_gone(identity: Identity, timeout: float) -> bool:
    """Block until the process is gone; False when it still lives after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while alive(identity):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


async def wait_for_exit(identity: Identity) -> None:
    """Return when the process is gone. Waits on a pidfd where there is one, else looks twice a second."""
    opener = getattr(os, "pidfd_open", None)
    if opener is not None:
        try:
            fd = opener(identity["pid"])
        except ProcessLookupError:
            return
        except OSError:
            fd = -1  # a kernel or sandbox without pidfds
        if fd >= 0:
            loop = asyncio.get_running_loop()
            ended = asyncio.Event()
            try:
                # Asked after the pidfd is open: from here on it cannot stand for anybody else.
                if not alive(identity):
                    return
                loop.add_reader(fd, ended.set)
                await ended.wait()
            finally:
                loop.remove_reader(fd)
                os.close(fd)
            return
    while alive(identity):  # noqa: ASYNC110 - there is nothing to wait on
        await asyncio.sleep(0.5)
