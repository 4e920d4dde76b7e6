"""The files of one store's runs, and the rows of its seeds, in a place that all its nodes reach.

    ID/po-objects.json               the first object: the place is that of the store with this id
    ID/runs/RUN/FENCE/SHA256         an artifact, put before the commit that lists it
    ID/runs/RUN/0/SHA256             what came with the seed, put before the run is created
    ID/rows/<hash of the owner>/SHA256

The id is a document of the store, so stores that share a directory or a bucket do not meet. A key has the fence under
which a file was written: objects of an earlier fence that no commit lists are nobody's, now and for ever, because a
worker that was overtaken commits nothing. Names of files are in no key. What is fetched is checked against its hash.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import structlog

from po_jupyter.errors import CorruptRow, InvalidInput, NotFound, StoreUnusable
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.documents import update
from po_jupyter.store.files.tree import Tree
from po_jupyter.store.objects.directory import MARKER, pieces_of
from po_jupyter.store.objects.protocol import ObjectInfo, ObjectStore
from po_jupyter.store.protocol import DocumentStore

log = structlog.get_logger(__name__)

AT_ONCE = 16  # requests to the place at the same time, of one process
PLACE = "objects", "place"  # kind and name of the document
RENEWED = 12 * 3600.0  # s after which rows that are used again are put again: retention looks at their age
_SHA = re.compile(r"[0-9a-f]{64}")
_RUN_KEY = re.compile(r"([0-9a-f]{4,64})/(\d{1,18})/([0-9a-f]{64})")
_ROWS_KEY = re.compile(r"([0-9a-f]{4,64})/([0-9a-f]{64})")


class RunFile(NamedTuple):
    """A file of a run: its path in the run's directory, the fence under which it was written, its SHA-256."""

    path: str
    fence: int
    sha256: str

    @classmethod
    def of(cls, path: str, fence: int, digest: str) -> RunFile:
        """The same, checked: it becomes a part of a key. Raises InvalidInput."""
        if not _SHA.fullmatch(digest) or not 0 <= fence < 10**18:
            raise InvalidInput(f"{path[:80]!r} has no hash, or no fence, by which it could be found")
        return cls(path, fence, digest)

    @property
    def name(self) -> str:
        """What the object is called among those of the run."""
        return f"{self.fence}/{self.sha256}"


class RunObject(NamedTuple):
    """An object of a run, as `SharedFiles.run_objects` lists it."""

    run: str
    fence: int
    sha256: str
    info: ObjectInfo


class SharedFiles:
    """See the module. Blocks: call it in a thread. Safe for several threads.

    Raises Unavailable while the place cannot be used: nothing is lost by asking again.
    """

    def __init__(self, store: DocumentStore, objects: ObjectStore) -> None:
        """Nothing is asked yet."""
        self._store = store
        self._objects = objects
        self._id: str | None = None
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="po-objects")

    @property
    def place(self) -> str:
        """The place for people."""
        return self._objects.place

    def close(self) -> None:
        """End its threads; what they have begun they end."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def open(self) -> str:
        """Find the store's room in the place, made at the first time; its id.

        Raises StoreUnusable when the store has its files in another place.
        """
        with self._lock:
            if self._id is None:
                self._id = self._open()
            return self._id

    def _open(self) -> str:
        known = self._store.get(*PLACE)
        if known is None:
            new = {"id": secrets.token_hex(8), "place": self.place}
            self._mark(new)  # first: an id that is known has its marker
            crashpoint("objects.marked")
            known = update(self._store, *PLACE, lambda there: there or new, subject="the place of shared files")
            assert known is not None
        try:
            list(self._objects.read(f"{known['id']}/{MARKER}"))
        except NotFound:
            raise StoreUnusable(
                f"the files of this store are in {known['place']}, and {self.place} does not have them",
                hint="Set PO_BLOBS to where they are; to move them, copy all objects first.",
            ) from None
        return str(known["id"])

    def _mark(self, place: Mapping[str, Any]) -> None:
        text = json.dumps({"store": place["id"]}).encode()
        self._objects.put(f"{place['id']}/{MARKER}", BytesIO(text), len(text))

    # -- files of runs ----------------------------------------------------------------------------------

    def keep(self, run: str, run_dir: Path, files: Sequence[RunFile]) -> None:
        """Put files of a run; all are durable when this returns. InvalidInput for one that is not what was written."""
        prefix, tree = f"{self.open()}/runs/{run}", Tree(run_dir)
        self._each(partial(self._keep, prefix, tree), {file.name: file for file in files}.values())
        crashpoint("objects.kept")

    def _keep(self, prefix: str, tree: Tree, file: RunFile) -> None:
        with tree.open(file.path) as opened:
            digest, size = digest_of_file(opened)
            if digest != file.sha256:
                raise InvalidInput(
                    f"the file {file.path[:200]} was changed after it was written",
                    hint="Write an artifact again with ctx.io instead of changing its file.",
                )
            opened.seek(0)
            self._objects.put(f"{prefix}/{file.name}", opened, size)

    def fetch(self, run: str, run_dir: Path, files: Sequence[RunFile]) -> dict[str, str]:
        """Bring files of a run into its directory; by path, why one could not be: it is not there, or was changed."""
        prefix, tree = f"{self.open()}/runs/{run}", Tree(run_dir)
        problems: dict[str, str] = {}

        def fetch(file: RunFile) -> None:
            try:
                pieces = self._objects.read(f"{prefix}/{file.name}")
                tree.receive(file.path, _verified(pieces, file.sha256))
            except NotFound:
                problems[file.path] = f"it is not in {self.place}: only the machine that wrote it has it"
            except CorruptRow as error:
                problems[file.path] = error.message

        self._each(fetch, files)
        if problems:
            log.warning(
                "files of a run are missing", run=run, files=len(problems), first=next(iter(problems.values()))
            )
        return problems

    def run_objects(self, run: str | None = None) -> Iterator[RunObject]:
        """The objects of all runs, or of one."""
        prefix = f"{self.open()}/runs"
        for info in self._objects.list(prefix if run is None else f"{prefix}/{run}"):
            found = _RUN_KEY.fullmatch(info.key.removeprefix(f"{prefix}/"))
            if found is not None:  # else somebody else put it there
                yield RunObject(found[1], int(found[2]), found[3], info)

    def remove_run(self, run: str) -> int:
        """Remove what a run has there, once the run itself is gone; how many objects."""
        return self.remove([found.info for found in self.run_objects(run)])

    # -- rows of seeds ----------------------------------------------------------------------------------

    def keep_rows(self, owner: str, digest: str, path: Path) -> None:
        """Put a file of rows unless it is there, and new enough for whoever cleans; `owner` is the owner's hash."""
        key = f"{self.open()}/rows/{owner}/{digest}"
        there = self._objects.info(key)
        if there is None or time.time() - there.modified > RENEWED:
            with path.open("rb") as file:
                self._objects.put(key, file, path.stat().st_size)

    def fetch_rows(self, owner: str, digest: str, path: Path) -> bool:
        """Bring a file of rows to `path`; False when there is none. Raises CorruptRow for one that was changed."""
        pieces = self._objects.read(f"{self.open()}/rows/{owner}/{digest}")
        try:
            Tree(path.parent.parent).receive(f"{path.parent.name}/{path.name}", _verified(pieces, digest))
        except NotFound:
            return False
        return True

    def rows(self) -> Iterator[tuple[str, ObjectInfo]]:
        """The files of rows: the SHA-256 of each, and its object."""
        prefix = f"{self.open()}/rows"
        for info in self._objects.list(prefix):
            found = _ROWS_KEY.fullmatch(info.key.removeprefix(f"{prefix}/"))
            if found is not None:
                yield found[2], info

    # -- all of them ------------------------------------------------------------------------------------

    def still(self, info: ObjectInfo) -> ObjectInfo | None:
        """An object as it is now."""
        return self._objects.info(info.key)

    def remove(self, infos: Iterable[ObjectInfo]) -> int:
        """Remove objects; how many."""
        keys = [info.key for info in infos]
        for start in range(0, len(keys), 1000):
            self._objects.remove(keys[start : start + 1000])
        return len(keys)

    def copy_to(self, other: SharedFiles, on_progress: Callable[[int], None]) -> tuple[int, int]:
        """Copy everything into the room of another store in the same place; how many objects, and their bytes. What
        is there already is passed over."""
        here, there = self.open(), other.open()
        infos = [i for kind in ("runs", "rows") for i in self._objects.list(f"{here}/{kind}")]
        have = {i.key: i.bytes for kind in ("runs", "rows") for i in self._objects.list(f"{there}/{kind}")}

        def copy(info: ObjectInfo) -> None:
            key = there + info.key.removeprefix(here)
            if have.get(key) != info.bytes:
                self._objects.copy(info.key, key)

        for start in range(0, len(infos), 10 * AT_ONCE):
            on_progress(start)
            self._each(copy, infos[start : start + 10 * AT_ONCE])
        return len(infos), sum(info.bytes for info in infos)

    def _each(self, work: Callable[[Any], None], items: Iterable[Any]) -> None:
        """`work` for each, `AT_ONCE` at the same time. The first error is raised once all have ended."""
        futures = [self._threads.submit(work, item) for item in items]
        errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            raise errors[0]


def digest_of_file(file: BinaryIO) -> tuple[str, int]:
    """The SHA-256 of what is left of a file, and its bytes."""
    digest, size = sha256(), 0
    for piece in pieces_of(file):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size


def _verified(pieces: Iterable[bytes], wanted: str) -> Iterator[bytes]:
    """The pieces. Raises CorruptRow at their end when they are not what has that hash."""
    digest = sha256()
    for piece in pieces:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != wanted:
        raise CorruptRow(
            f"the object {wanted[:12]}... was changed where it is kept: its hash is {digest.hexdigest()[:12]}...",
            hint="Restore it from a copy.",
        )
