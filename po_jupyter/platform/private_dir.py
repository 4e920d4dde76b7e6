"""Private directories on a local disk: made for one user alone, durably, and not on a network file system.

On Windows a directory has no mode: Python itself (3.11.10 and newer) gives one that is made here an access list for
its user alone, and below the user's own profile, where data directories are, it has one anyhow.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from po_jupyter.errors import StoreUnusable
from po_jupyter.platform import users

# SQLite's locks and its shared memory do not work, or work sometimes, across machines (sqlite.org/wal.html,
# sqlite.org/faq.html#q5). 9p is what WSL and some containers show of the host's directories.
# fmt: off
NETWORK = frozenset({
    "nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afpfs", "afs", "ncpfs", "9p", "lustre",
    "gpfs", "beegfs", "beegfs_nodev", "glusterfs", "ceph", "panfs", "pvfs2", "orangefs", "coda", "webdav",
    "davfs", "davfs2",
})
NETWORK_FUSE = frozenset({
    "sshfs", "glusterfs", "ceph", "ceph-fuse", "s3fs", "gcsfuse", "rclone", "goofys", "blobfuse", "blobfuse2",
    "juicefs", "davfs", "curlftpfs", "smbnetfs", "mfs", "moosefs", "lizardfs", "seaweedfs", "mountpoint-s3",
})
# fmt: on
ELSEWHERE = "Set PO_DATA_DIR to a directory on a local disk."


ON_A_HUB = (
    "Home directories of this hub are on a network. Its admin sets PO_DATA_DIR in the spawner's environment to a "
    "directory of the user's on a local disk, or PO_STORE to a PostgreSQL database: po help hub-admin."
)


class Mount(NamedTuple):
    """One mounted file system."""

    point: str
    type: str
    remote: bool = False  # the system says so itself (Windows)


def mounts() -> list[Mount]:
    """The file systems that are mounted on this machine."""
    try:
        text = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        import psutil

        return [Mount(p.mountpoint, p.fstype, "remote" in p.opts) for p in psutil.disk_partitions(all=True)]
    fields = (line.split(" ") for line in text.splitlines())
    return [Mount(_unescaped(f[1]), f[2]) for f in fields if len(f) > 2]


def _unescaped(point: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, char)
    return point


def network_type(path: Path, table: Iterable[Mount]) -> str | None:
    """The type of the network file system that `path` is on, or None when it is local."""
    path = path.resolve()
    best: Mount | None = None
    for mount in table:
        if path.is_relative_to(mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount  # of two on one point, the later one covers the earlier
    if best is None:
        return None
    kind = best.type.lower()
    base, _, sub = kind.partition(".")
    if best.remote or kind in NETWORK or (base in ("fuse", "macfuse", "osxfuse") and sub in NETWORK_FUSE):
        return best.type
    return None


def make(directory: Path) -> None:
    """Make `directory` (0700) and its parents, durably: a new name is on the disk when its parent is."""
    missing = [at for at in (directory, *directory.parents) if not at.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


def make_own(directory: Path) -> None:
    """Make `directory` for this user only. Raises OSError, and StoreUnusable when it is another user's."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = directory.lstat()
    if not stat.S_ISDIR(info.st_mode) or not users.is_mine(info):
        raise StoreUnusable(f"{directory} belongs to somebody else; nothing private can be there")
    if users.is_open_to_others(info):
        directory.chmod(0o700)


def is_read_only(path: Path) -> bool:
    """Whether the whole file system of a path is; false where it does not say."""
    if sys.platform == "win32":
        return False
    else:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def sync(directory: Path) -> None:
    """Make the names in `directory` durable."""
    if sys.platform != "win32":  # there the system writes a directory down with the file
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def prepare_parent(directory: Path) -> None:
    """Make the directory that private ones are made in. Raises StoreUnusable when it cannot be, when it cannot be
    read and written, or when it belongs to another user than this one and root."""
    try:
        make(directory)
        info = directory.stat()
        with os.scandir(directory):
            pass
    except OSError as error:
        raise StoreUnusable(
            f"the data directory {directory} cannot be used: {error.strerror}",
            hint="Set PO_DATA_DIR to a directory of your own.",
            details={"path": str(directory)},
        ) from None
    if not users.is_mine(info, or_root=True):
        raise _of_another_user(directory, info.st_uid)


def _of_another_user(directory: Path, owner: int) -> StoreUnusable:
    return StoreUnusable(
        f"the data directory {directory} belongs to another user (uid {owner}, not {users.current()})",
        hint="Its owner could read and change your runs. Set PO_DATA_DIR to a directory of your own.",
        details={"path": str(directory)},
    )


def prepare(path: Path, *, allow_network: bool) -> None:
    """Make `path` a private directory on a local disk. Raises StoreUnusable, with what to do, when it cannot be one."""
    try:
        make(path)
        info = path.stat()
    except OSError as error:
        raise StoreUnusable(
            f"the data directory {path} cannot be made: {error.strerror}",
            hint=ELSEWHERE,
            details={"path": str(path)},
        ) from None
    if not users.is_mine(info):
        raise _of_another_user(path, info.st_uid)
    if users.is_open_to_others(info):
        try:
            path.chmod(0o700)
        except OSError as error:
            raise StoreUnusable(
                f"the data directory {path} is open to other users, and cannot be closed: {error.strerror}",
                hint=ELSEWHERE,
                details={"path": str(path)},
            ) from None
    if not allow_network:
        kind = network_type(path, mounts())
        if kind is not None:
            raise StoreUnusable(
                f"the data directory {path} is on a network file system ({kind}), where SQLite's locks fail",
                hint=ON_A_HUB if os.environ.get("JUPYTERHUB_USER") else ELSEWHERE,
                details={"path": str(path), "type": kind},
            )
