"""Changes of several files, with or without one of the store, that happen together or not at all (R2.3).

A write-ahead log of intents. What is to be done is durable before anything is done; then comes one decision,
and after it everything is done for sure, if need be by the next start:

    ID.0 ID.1 ...   contents of files to be written, each complete
    ID.json         the intent: {name, ops, decision}                           ─┐ a crash here: rolled back
    the decision    a commit of the store, or the rename of ID.json to ID.go    ─┤
    the ops         renames and removals, each harmless when done twice          │ a crash here: completed
    ID.json removed                                                             ─┘

Nothing that anybody sees changes before the decision, so rolling back is forgetting.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from po_jupyter.errors import Conflict, InvalidInput, NotFound, PoError, StoreError
from po_jupyter.model.run.events import now
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.files.tree import TEMPORARY, Tree, parts_of, same

LOG = ".po-intents"  # the directory below the root; the same file system, so that renames work
_LARGEST = 2**20  # bytes of one intent; the contents of files are beside it


class Move(NamedTuple):
    """Rename a file or directory that is there. What has the name `target` then is not replaced: Conflict."""

    source: str
    target: str


class Write(NamedTuple):
    """A file with this content; one of that name is replaced."""

    path: str
    data: bytes


class Remove(NamedTuple):
    """Remove a file."""

    path: str


Op = Move | Write | Remove
_FIELDS = {
    "move": {"source", "target", "identity"},
    "write": {"path", "staged"},
    "remove": {"path", "identity"},
}
Decided = Callable[[str, Any], bool]


class IntentOutcome(NamedTuple):
    """The outcome of an intent at the start: `completed`, `rolled back`, or `stuck` with the reason."""

    name: str
    decision: Any
    result: str
    reason: str = ""


class IntentLog:
    """The intents of one directory. Names in ops are relative to `root`, with forward slashes.

    `decided(name, decision)` answers from the store whether the commit that an intent stands for was made; it
    is asked for intents with a `decision`. One process at a time works on a root: it calls `recover()` first.
    """

    def __init__(self, root: Path, *, decided: Decided | None = None) -> None:
        """See the class."""
        self.root = root
        self.tree = Tree(root)
        self._decided = decided
        self._lock = Lock()
        self._open: set[str] = set()

    @contextlib.contextmanager
    def transaction(self, name: str, ops: Sequence[Op], *, decision: Any = None) -> Iterator[Intent]:
        """Do `ops` together with the commit in the body.

            with intents.transaction("take-in", [Move(...), Write(...)], decision={"run": run}):
                store.create_run(...)

        Without `decision` the end of the body decides. When the body raises, nothing is done, unless the commit
        turns out to have been made.
        """
        intent = self.begin(name, ops, decision=decision)
        try:
            yield intent
        except BaseException:
            intent.settle()
            raise
        intent.apply()

    def begin(self, name: str, ops: Sequence[Op], *, decision: Any = None) -> Intent:
        """Make the intent durable; nothing that anybody sees has changed. `apply` or `settle` ends it.

        Raises InvalidInput (a name that leads elsewhere), NotFound (nothing to move there), Conflict (something
        has the new name already), StoreUnusable; nothing is left then.
        """
        if decision is not None and self._decided is None:
            raise TypeError("an intent with a decision needs IntentLog(..., decided=...)")
        intent = Intent(self, secrets.token_hex(8), name, decision)
        with self._lock:
            self._open.add(intent.id)
        try:
            intent.write(ops)
        except BaseException:
            intent.forget()
            raise
        return intent

    def recover(self) -> list[IntentOutcome]:
        """Complete or roll back what a crash left open. Call it at the start; it may be called at any time."""
        names = self.tree.names(LOG)
        outcomes: list[IntentOutcome] = []
        written: set[str] = set()
        for file in names:
            id_, _, kind = file.partition(".")
            if kind in ("json", "go"):
                written.add(id_)
                if id_ not in self._open:
                    outcomes.append(self._recover(id_, kind))
        for file in names:  # contents whose intent was never written, and half-written files
            if file.startswith(TEMPORARY) or file.partition(".")[0] not in written | self._open:
                self.tree.remove(f"{LOG}/{file}")
        return outcomes

    def _recover(self, id_: str, kind: str) -> IntentOutcome:
        intent = Intent(self, id_, "", None)
        try:
            intent.read(kind)
            decided = kind == "go" or (intent.decision is not None and self._was_decided(intent))
            if decided:
                intent.apply(decide=False)
            else:
                intent.forget()
        except PoError as error:
            return IntentOutcome(intent.name, intent.decision, "stuck", error.message)
        return IntentOutcome(intent.name, intent.decision, "completed" if decided else "rolled back")

    def _was_decided(self, intent: Intent) -> bool:
        assert self._decided is not None
        return self._decided(intent.name, intent.decision)


class Intent:
    """One intent; made by `IntentLog.begin`."""

    def __init__(self, intents: IntentLog, id_: str, name: str, decision: Any) -> None:
        """Not durable yet: see `write` and `read`."""
        self.id = id_
        self.name = name
        self.decision = decision
        self._intents = intents
        self._tree = intents.tree
        self._ops: list[JsonObject] = []
        self._decided = False

    def write(self, ops: Sequence[Op]) -> None:
        """Make it durable. See `IntentLog.begin`."""
        self._ops = [self._prepared(op, i) for i, op in enumerate(ops)]
        self._save()
        crashpoint("intent.begun")

    def revise(self, ops: Sequence[Move | Remove], *, decision: Any) -> None:
        """Replace the moves and removals before they are done, because the store decided on something else than
        planned (an idempotency key meant an earlier run). Contents to be written keep theirs, in order."""
        writes = [op for op in self._ops if op["op"] == "write"]
        self._ops = [*writes, *(self._prepared(op, -1) for op in ops)]
        self.decision = decision
        self._save()
        crashpoint("intent.revised")

    def redirect(self, old: str, new: str) -> None:
        """Write the file that was planned as `old` to `new`; durable with the next `revise`."""
        parts_of(new)
        for op in self._ops:
            if op["op"] == "write" and op["path"] == old:
                op["path"] = new

    def _prepared(self, op: Op, i: int) -> JsonObject:
        tree = self._tree
        if isinstance(op, Write):
            parts_of(op.path)
            tree.write(f"{LOG}/{self.id}.{i}", op.data)
            return {"op": "write", "path": op.path, "staged": f"{self.id}.{i}"}
        if isinstance(op, Remove):
            return {"op": "remove", "path": op.path, "identity": tree.identity(op.path)}
        identity = tree.identity(op.source)
        if identity is None:
            raise NotFound(f"there is nothing to move at {op.source[:80]!r}")
        if tree.identity(op.target) is not None:
            raise Conflict(f"{op.target[:80]!r} is there already; it is not replaced by {op.source[:80]!r}")
        return {"op": "move", "source": op.source, "target": op.target, "identity": identity}

    def _save(self) -> None:
        intent = {"version": 1, "name": self.name, "at": now(), "decision": self.decision, "ops": self._ops}
        self._tree.write(f"{LOG}/{self.id}.json", json.dumps(intent).encode())

    def read(self, kind: str) -> None:
        """Read it back. Raises InvalidInput when it is not an intent that this version knows."""
        try:
            intent = json.loads(self._tree.read(f"{LOG}/{self.id}.{kind}", limit=_LARGEST))
            if intent["version"] != 1:
                raise InvalidInput(f"the intent {self.id} was written by a newer po_jupyter")
            self.name, self.decision, self._ops = intent["name"], intent["decision"], intent["ops"]
            for op in self._ops:
                fields = _FIELDS[op["op"]]
                if op.keys() != {"op", *fields} or not all(type(op[f]) is str for f in fields - {"identity"}):
                    raise ValueError(op)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidInput(
                f"{self._intents.root / LOG / self.id}.{kind} is not an intent",
                hint="Something else wrote it. Look at it, then remove it.",
            ) from None
        self._decided = kind == "go"

    def apply(self, *, decide: bool = True) -> None:
        """It is decided: do it. What fails here is done by a later `recover`.

        Raises StoreUnusable; Conflict when something took the name that a move needs.
        """
        if self.decision is None and not self._decided and decide:
            self._tree.move(f"{LOG}/{self.id}.json", f"{LOG}/{self.id}.go")
            self._decided = True
            crashpoint("intent.decided")
        try:
            for op in self._ops:
                self._do(op)
                crashpoint("intent.op")
            self._end()
        finally:
            self._closed()

    def _do(self, op: JsonObject) -> None:
        """One op, harmless when it was done before: a file is known by its identity, not by its name alone."""
        tree, kind = self._tree, op["op"]
        if kind == "write":
            staged = f"{LOG}/{op['staged']}"
            if tree.identity(staged) is not None:  # otherwise it is in its place already
                tree.move(staged, op["path"])
        elif kind == "remove":
            if same(tree.identity(op["path"]), op["identity"]):
                tree.remove(op["path"])
        elif same(tree.identity(op["source"]), op["identity"]):
            if tree.identity(op["target"]) is not None:
                raise Conflict(f"{op['target'][:80]!r} is there already; {op['source'][:80]!r} stays")
            tree.move(op["source"], op["target"])

    def settle(self) -> None:
        """The body raised: find out whether it was decided all the same; complete it or roll it back.

        A store that cannot be asked now leaves it to `recover`.
        """
        if self.decision is not None:
            try:
                decided = self._intents._was_decided(self)
            except StoreError:
                self._closed()
                return
            if decided:
                self.apply()
                return
        self.forget()

    def forget(self) -> None:
        """Roll it back: nothing was done yet, so only the log has traces.

        What cannot be removed now is removed by the next `recover`; this raises nothing."""
        with contextlib.suppress(StoreError):
            self._end()
        self._closed()

    def _end(self) -> None:
        crashpoint("intent.applied")
        # The intent before its contents: contents without an intent are swept, an intent without them is not.
        for kind in ("json", "go"):
            self._tree.remove(f"{LOG}/{self.id}.{kind}")
        crashpoint("intent.gone")
        for name in self._tree.names(LOG):
            if name.startswith(f"{self.id}."):
                self._tree.remove(f"{LOG}/{name}")

    def _closed(self) -> None:
        with self._intents._lock:
            self._intents._open.discard(self.id)


def decided_by_run(head: Callable[[str], Any]) -> Decided:
    """`decided` for intents whose decision is `{"run": ID}`: they are decided when that run exists."""

    def decided(name: str, decision: Any) -> bool:
        try:
            head(decision["run"])
        except NotFound:
            return False
        return True

    return decided
