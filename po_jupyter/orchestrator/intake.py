"""The files of seeds as they go through their folder: pending → current → complete, or rejected.

    pending/NAME             what somebody dropped
    current/RUN/NAME         and `definition.json` beside it: moved when the run was created, both or neither
    complete/RUN/...         moved when the run ended
    rejected/NAME            with NAME.reason.json beside it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from po_jupyter.errors import Conflict
from po_jupyter.store.base import Head, NewRun, Store
from po_jupyter.store.intents import Intent, Intents, Move, Op, Write, decided_by_run

PENDING, CURRENT, COMPLETE, REJECTED = "pending", "current", "complete", "rejected"
DEFINITION = "definition.json"
_NAMES = 1000  # tries to find a free name for a rejected file


def open_intents(root: Path, store: Store) -> Intents:
    """The intents of a watch folder. Call `recover()` on it before anything else, and only as the store's one
    orchestrator."""
    return Intents(root, decided=decided_by_run(store.head))


def identity_of(intents: Intents, name: str) -> str:
    """What stands for the file `pending/NAME` in an idempotency key, until it is dropped anew. NotFound."""
    return ":".join(map(str, intents.tree.stamp(f"{PENDING}/{name}")))


def take_in(intents: Intents, store: Store, new: NewRun, name: str) -> tuple[Head, bool]:
    """Create the run of the checked seed `pending/NAME` and move the file to `current/RUN/`: both or neither.

    Give `new` an idempotency key that stands for this very file: should a crash have come between the
    reservation of the key and the run, the run has the id that was planned first, and the file goes there.
    Raises what `create_run` and `Intents.begin` raise; nothing has changed then.
    """
    snapshot = json.dumps({**new.definition, "env": {}}, ensure_ascii=False, indent=2).encode()
    intent = intents.begin("take-in", _taking(new.run, name, snapshot), decision={"run": new.run})
    try:
        head, fresh = store.create_run(new)
        if head["run"] != new.run:
            _follow(intents, intent, new.run, head["run"], name)
    except BaseException:
        intent.settle()
        raise
    intent.apply()
    return head, fresh


def _taking(run: str, name: str, snapshot: bytes) -> list[Op]:
    return [
        Write(f"{CURRENT}/{run}/{DEFINITION}", snapshot),
        Move(f"{PENDING}/{name}", f"{CURRENT}/{run}/{name}"),
    ]


def _follow(intents: Intents, intent: Intent, planned: str, run: str, name: str) -> None:
    """The key meant an earlier run: the file belongs to that one."""
    intent.redirect(f"{CURRENT}/{planned}/{DEFINITION}", f"{CURRENT}/{run}/{DEFINITION}")
    target = f"{CURRENT}/{run}/{name}"
    intent.revise([Move(f"{PENDING}/{name}", target)], decision={"run": run})


def put_away(
    intents: Intents, run: str, *, to: str = COMPLETE, result: Mapping[str, Any] | None = None
) -> bool:
    """Move `current/RUN` to `complete/RUN`, with `result.json` in it when given; False when it is not there."""
    if intents.tree.identity(f"{CURRENT}/{run}") is None:
        return False
    ops: list[Op] = [Move(f"{CURRENT}/{run}", f"{to}/{run}")]
    if result is not None:
        text = json.dumps(result, ensure_ascii=False, indent=2).encode()
        ops.insert(0, Write(f"{CURRENT}/{run}/result.json", text))
    with intents.transaction("put-away", ops):
        pass
    return True


def reject(intents: Intents, name: str, reason: Mapping[str, Any]) -> str:
    """Move `pending/NAME` to `rejected/`, the reason in `NAME.reason.json` beside it; the name it has there.

    A file of that name which was rejected before stays: the new one gets a number.
    """
    text = json.dumps(reason, ensure_ascii=False, indent=2).encode()
    stem, dot, suffix = name.partition(".")
    for i in range(1, _NAMES):
        free = name if i == 1 else f"{stem}~{i}{dot}{suffix}"
        try:
            ops: list[Op] = [
                Write(f"{REJECTED}/{free}.reason.json", text),
                Move(f"{PENDING}/{name}", f"{REJECTED}/{free}"),
            ]
            with intents.transaction("reject", ops):
                pass
        except Conflict:
            continue
        return free
    raise Conflict(f"{REJECTED} holds {_NAMES} files of the name {name[:80]!r} already", hint="Clear it out.")
