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
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NotRequired, TypedDict

_LINUX = sys.platform == "linux"
_INITIAL = f"pid:[{0xEFFFFFFC}]"  # the pid namespace of the machine itself, on every Linux
ROOT = os.path.abspath(os.sep)  # a directory that is always there
if sys.platform == "win32":
    _KILL: int = signal.SIGTERM  # ends a process at once there
else:
    _KILL = signal.SIGKILL


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


def _pid_namespace() -> str:
    """The pid namespace of this process; empty where nobody says."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


@lru_cache(maxsize=1)
def boot() -> str:
    """The id of this boot of this machine, with the pid namespace in a container: its pids are its own."""
    namespace = _pid_namespace() if _LINUX else ""
    return _boot_id() if namespace in ("", _INITIAL) else f"{_boot_id()} {namespace}"


def _boot_id() -> str:
    """Without the namespace, as identities of older versions have it, also in containers."""
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
    if not identity or not is_local(identity) or identity.get("boot") not in (boot(), _boot_id()):
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


def end_group(identity: Identity, sig: int = _KILL) -> bool:
    """Signal the group that this process leads (or the process alone, when it leads none); False when it is
    gone. On Windows, which has neither groups nor signals: end the process with all that it started."""
    pid = identity["pid"]
    if not alive(identity) or pid in (0, 1, os.getpid()):
        return False
    if sys.platform == "win32":
        return _end_tree(pid)
    else:
        try:
            if os.getpgid(pid) == pid:
                os.killpg(pid, sig)
            else:
                os.kill(pid, sig)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def _end_tree(pid: int) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        tree = [*process.children(recursive=True), process]
    except psutil.Error:
        return False
    for member in reversed(tree):  # the process first: it starts no others then
        with suppress(psutil.Error):
            member.kill()
    return True


def ask_to_end(identity: Identity) -> bool:
    """Ask this very process, none of its group, to end in order: children finish what they do. False when it is gone,
    or cannot be asked: a signal would end it at once on Windows."""
    pid = identity["pid"]
    if sys.platform != "win32" and alive(identity) and pid not in (0, 1, os.getpid()):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
            return True
    return False


def signal_group(leader: int, *, force: bool) -> None:
    """Ask the group that a child of this process leads to end, or (`force`) end it. On Windows either ends the child
    and all that it started."""
    if sys.platform == "win32":
        _end_tree(leader)
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL if force else signal.SIGTERM)


def start_detached(command: Sequence[str], *, env: Mapping[str, str], errors: int) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one and its terminal, and leads a group; its standard input and output are
    pipes, `errors` is the descriptor of what it writes on standard error. Raises OSError."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=env, cwd=ROOT,
            creationflags=flags,
        )  # fmt: skip
    else:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=env, cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip


def wait_with_leftovers(process: subprocess.Popen[bytes]) -> int:
    """Block until the process of `start_detached` is gone, end what it left running in its group; its exit status."""
    if sys.platform != "win32" and hasattr(os, "waitid"):
        # Before it is reaped: as long as it is a zombie its number is nobody else's.
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, _KILL)
        return process.wait()
    status = process.wait()
    end_leftovers(process.pid)
    return status


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
            if process.pid != os.getpid() and _is_of(process.pid, session):
                process.kill()
                killed += 1
        except (psutil.Error, OSError):
            continue
    return killed


def _is_of(pid: int, session: int) -> bool:
    """Whether a process is in that session; on Windows, which has none, whether its leader started it."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process(pid).ppid() == session
    else:
        return os.getsid(pid) == session


def wait_gone(identity: Identity, timeout: float) -> bool:
    """Block until the process is gone; False when it still lives after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while alive(identity):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def memory_of(pid: int) -> int:
    """The bytes of memory that a process has, 0 when it is gone."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


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
