"""Transitions of seed files in the watch folder: pending → current → complete, or rejected.

pending/NAME             what somebody dropped
current/RUN/NAME         and `definition.json` beside it: moved when the run was created, both or neither
complete/RUN/...         moved when the run ended
rejected/NAME            with NAME.reason.json beside it
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from po_jupyter.errors import Conflict
from po_jupyter.store.files.intent_log import Intent, IntentLog, Move, Op, Write, decided_by_run
from po_jupyter.store.protocol import Head, NewRun, Store

DEFINITION, RESULT, REASON = "definition.json", "result.json", ".reason.json"
_NAMES = 1000  # tries to find a free name for a rejected file
_LONGEST = 255 - len("~999") - len(REASON)  # bytes of a rejected file's name, so that its reason has one too


class InboxPlaces(NamedTuple):
    """The names of the four directories."""

    pending: str = "pending"
    current: str = "current"
    complete: str = "complete"
    rejected: str = "rejected"


DEFAULT = InboxPlaces()


def open_intents(root: Path, store: Store) -> IntentLog:
    """The intents of a watch folder. Call `recover()` on it before anything else, and only as the store's one
    orchestrator."""
    return IntentLog(root, decided=decided_by_run(store.head))


def identity_of(intents: IntentLog, name: str, *, places: InboxPlaces = DEFAULT) -> str:
    """The identity of the file `pending/NAME` for an idempotency key, until it is dropped anew. NotFound."""
    return ":".join(map(str, intents.tree.stamp(f"{places.pending}/{name}")))


def take_in(
    intents: IntentLog, store: Store, new: NewRun, name: str, *, places: InboxPlaces = DEFAULT
) -> tuple[Head, bool]:
    """Create the run of the checked seed `pending/NAME` and move the file to `current/RUN/`: both or neither.

    Give `new` an idempotency key that stands for this very file: should a crash have come between the
    reservation of the key and the run, the run has the id that was planned first, and the file goes there.
    Raises what `create_run` and `IntentLog.begin` raise; nothing has changed then.
    """
    snapshot = as_text({**new.definition, "env": {}})
    intent = intents.begin("take-in", _taking(new.run, name, snapshot, places), decision={"run": new.run})
    try:
        head, fresh = store.create_run(new)
        if head["run"] != new.run:
            _follow(intent, new.run, head["run"], name, places)
    except BaseException:
        intent.settle()
        raise
    intent.apply()
    return head, fresh


def _taking(run: str, name: str, snapshot: bytes, places: InboxPlaces) -> list[Op]:
    return [
        Write(f"{places.current}/{run}/{DEFINITION}", snapshot),
        Move(f"{places.pending}/{name}", f"{places.current}/{run}/{name}"),
    ]


def _follow(intent: Intent, planned: str, run: str, name: str, places: InboxPlaces) -> None:
    """The key meant an earlier run: the file belongs to that one."""
    intent.redirect(f"{places.current}/{planned}/{DEFINITION}", f"{places.current}/{run}/{DEFINITION}")
    target = f"{places.current}/{run}/{name}"
    intent.revise([Move(f"{places.pending}/{name}", target)], decision={"run": run})


def put_away(
    intents: IntentLog,
    run: str,
    *,
    to: str | None = None,
    result: Mapping[str, Any] | None = None,
    places: InboxPlaces = DEFAULT,
) -> bool:
    """Move `current/RUN` to `complete/RUN`, with `result.json` in it when given; False when it is not there."""
    if intents.tree.identity(f"{places.current}/{run}") is None:
        return False
    target = f"{to or places.complete}/{run}"
    ops: list[Op] = [Move(f"{places.current}/{run}", target)]
    if result is not None:
        ops.append(Write(f"{target}/{RESULT}", as_text(result)))
    with intents.transaction("put-away", ops):
        pass
    return True


def reject(intents: IntentLog, name: str, reason: Mapping[str, Any], *, places: InboxPlaces = DEFAULT) -> str:
    """Move `pending/NAME` to `rejected/`, the reason in `NAME.reason.json` beside it; the name it has there.

    A file of that name which was rejected before stays: the new one gets a number.
    """
    text = as_text(reason)
    stem, suffix = short_name(name)
    for i in range(1, _NAMES):
        free = f"{stem}{suffix}" if i == 1 else f"{stem}~{i}{suffix}"
        try:
            ops: list[Op] = [
                Write(f"{places.rejected}/{free}{REASON}", text),
                Move(f"{places.pending}/{name}", f"{places.rejected}/{free}"),
            ]
            with intents.transaction("reject", ops):
                pass
        except Conflict:
            continue
        return free
    raise Conflict(
        f"{places.rejected} holds {_NAMES} files of the name {name[:80]!r} already", hint="Clear it out."
    )


def as_text(value: Any) -> bytes:
    """JSON for people. What is no text (a file's name may be any bytes) becomes `?`."""
    return json.dumps(value, ensure_ascii=False, indent=2).encode("utf-8", "replace")


def short_name(name: str) -> tuple[str, str]:
    """Stem and suffix of the name, cut so that there is room for a number and for the reason's name."""
    stem, dot, suffix = name.rpartition(".")
    stem, suffix = (stem, dot + suffix) if stem and len(suffix) < 20 else (name, "")
    while len(os.fsencode(stem + suffix)) > _LONGEST:
        stem = stem[:-1]
    return stem, suffix
