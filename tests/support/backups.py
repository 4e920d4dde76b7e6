"""Data directories to back up, and archives to look into."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

from po_jupyter.orchestrator.maintenance import restore
from po_jupyter.orchestrator.maintenance.archive import MANIFEST
from po_jupyter.platform import processes
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Commit
from po_jupyter.testing.conformance.store import event, new_run

RUNS = [f"01a218f49251499a5f970{n}" for n in (2, 3, 4, 5)]  # two in each of two shards


def make(data_dir: Path, shards: int = 2) -> DiskStore:
    """A data directory with four runs: two ended, one pending, one held by this process; and files of each kind."""
    store = DiskStore(data_dir / "store", shards=shards)
    for n, run in enumerate(RUNS):
        store.create_run(new_run(run, idempotency_key=f"key-{n}"))
        write(data_dir / "runs" / run / "artifacts" / "a" / "1-1" / "out.txt", f"of {run}")
    for run in RUNS[:2]:
        store.request(run, [event("run.done")], state="done")
    lease = store.claim(RUNS[3], processes.myself())
    store.commit(lease, Commit(events=[event("run.started")], state="running"))
    store.put("pipeline", "p", {"name": "p"})
    store.put("lease", "orchestrator", {**processes.myself(), "count": 1})
    write(data_dir / "keys.json", '{"openai": "sk-secret"}')
    write(data_dir / "blobs" / "me" / f"{'0' * 64}.ndjson", "1\n2\n")
    write(data_dir / "audit" / "audit.jsonl", "{}\n")
    write(data_dir / "runtime" / "headless.json", '{"token": "of a server"}')
    write(data_dir / "logs" / "orchestrator.log", "a line")
    return store


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(0o600)
    path.write_text(text)


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {m.name: tar.extractfile(m).read() if m.isfile() else b"" for m in tar}


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], None], **extra: tarfile.TarInfo) -> None:
    """Make the archive anew with other members."""
    content = members(archive)
    change(content)
    manifest = content.pop(MANIFEST, None)
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if not data and "." not in name.rpartition("/")[2]:
                info.type = tarfile.DIRTYPE
            tar.addfile(info, io.BytesIO(data))
        for info in extra.values():
            tar.addfile(info)
        if manifest is not None:
            info = tarfile.TarInfo(MANIFEST)
            info.size = len(manifest)
            tar.addfile(info, io.BytesIO(manifest))


def restored(archive: Path, there: Path) -> DiskStore:
    restore.restore(archive, there, allow_network=False)
    return DiskStore(there / "store")
