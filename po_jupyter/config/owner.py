"""Whose a store is: one person, who is one owner of runs in Lab, in a terminal, over SSH and under `po start`.

`owner.json` in the data directory says it: `{owner, uid, hub_user}`, written at the first start (mode 0600). `owner` is
the name under which that person's runs are kept, `hub_user` their name on a hub once a server of a hub has used the
directory. Anybody else is refused: two people on one directory would run each other's code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from po_jupyter.errors import StoreUnusable
from po_jupyter.platform import users
from po_jupyter.platform.private_file import write_private

FILE = "owner.json"
LOCAL = "local"


class StoreOwner(NamedTuple):
    """The person of a data directory. `uid` is None where users have no numbers, `hub_user` without a hub."""

    owner: str
    uid: int | None
    hub_user: str | None


def default_owner() -> str:
    """The owner of runs where no store says another: the hub's user, or `local` without a hub."""
    return _hub_user(os.environ) or LOCAL


def owner_of(data_dir: Path) -> StoreOwner:
    """The person of a data directory, or who would be that by the first start. Looks at one file; raises nothing."""
    path = data_dir / FILE
    with suppress(OSError, StoreUnusable):
        info = os.stat(path)
        return _read(path, info.st_mtime_ns, info.st_ino, info.st_size)
    return StoreOwner(default_owner(), _uid(), _hub_user(os.environ))


def check(data_dir: Path, environ: Mapping[str, str] | None = None) -> StoreOwner | None:
    """The person of a data directory, None when nobody has used it. Raises StoreUnusable for anybody else."""
    path = data_dir / FILE
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(data_dir, f"cannot be used: {error.strerror}") from None
    known = _read(path, info.st_mtime_ns, info.st_ino, info.st_size)
    uid, hub_user = _uid(), _hub_user(os.environ if environ is None else environ)
    if None not in (known.uid, uid) and known.uid != uid:
        raise _refused(data_dir, f"belongs to another user (uid {known.uid}, not {uid})")
    if None not in (known.hub_user, hub_user) and known.hub_user != hub_user:
        raise _refused(data_dir, f"belongs to {known.hub_user!r} on this hub, not to {hub_user!r}")
    return known


def claim(data_dir: Path, earlier: str | None = None) -> StoreOwner:
    """Make the data directory this person's, or note their name on the hub. Raises StoreUnusable for anybody else.

    `earlier` is the owner of the newest run, in a store of a version that did not write down whose it is.
    """
    known, hub_user = check(data_dir), _hub_user(os.environ)
    if known is not None and (hub_user is None or known.hub_user is not None):
        return known
    if known is not None:
        return _write(data_dir, known._replace(hub_user=hub_user))
    names = (LOCAL, hub_user) if hub_user is not None else (earlier,)
    name = earlier if earlier is not None and earlier in names else default_owner()
    return _write(data_dir, StoreOwner(name, _uid(), hub_user))


def _write(data_dir: Path, owner: StoreOwner) -> StoreOwner:
    try:
        write_private(data_dir / FILE, json.dumps(owner._asdict()))
    except OSError as error:
        raise _refused(data_dir, f"cannot be used: {error.strerror}") from None
    return owner


@lru_cache(maxsize=8)
def _read(path: Path, *_stamp: int) -> StoreOwner:
    try:
        value = json.loads(path.read_text("utf-8"))
        uid, hub_user = value.get("uid"), value.get("hub_user")
        return StoreOwner(
            str(value["owner"]), uid if isinstance(uid, int) else None, str(hub_user) if hub_user else None
        )
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise _refused(path.parent, f"does not say whose it is: {error}") from None


def _refused(data_dir: Path, reason: str) -> StoreUnusable:
    return StoreUnusable(
        f"the data directory {data_dir} {reason}",
        hint="Set PO_DATA_DIR to a directory of your own. If this one is yours all the same (it was copied, or given "
        f"to you), remove {data_dir / FILE}.",
        details={"path": str(data_dir)},
    )


def _uid() -> int | None:
    return users.current()


def _hub_user(environ: Mapping[str, str]) -> str | None:
    return environ.get("JUPYTERHUB_USER") or None
