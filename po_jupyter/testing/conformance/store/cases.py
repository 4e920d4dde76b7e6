"""The base of the cases of every subject: runs and events to begin with, another process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any, ClassVar, cast

import pytest

from po_jupyter.model.run.events import EventDraft
from po_jupyter.platform.processes import Identity
from po_jupyter.platform.source_root import SOURCE_ROOT
from po_jupyter.store.protocol import CallDraft, ItemDraft, NewRun, Store


def new_run(run: str, **changes: Any) -> NewRun:
    """A run to create; the id is what the caller says."""
    fields: dict[str, Any] = {
        "run": run,
        "owner": "ada",
        "pipeline": "tickets",
        "version": "1.0.0",
        "name": "first",
        "priority": 0,
        "definition": {"pipeline": {"name": "tickets"}, "seed": {"name": "first", "data": {}}},
        "events": [event("run.created", name="first")],
    }
    return NewRun(**(fields | changes))


def event(type: str, task: str | None = None, **data: Any) -> EventDraft:
    """A draft of an event, with a fixed time."""
    draft: EventDraft = {"at": "2026-11-22T12:00:00.000Z", "type": type, "data": data}
    if task is not None:
        draft["task"] = task
    return draft


def holder(pid: int) -> Identity:
    """The process that claims a run, as far as a store cares."""
    return cast("Identity", {"pid": pid})


def item(**fields: Any) -> ItemDraft:
    """An item with these fields only: a store keeps whatever there is."""
    return cast("ItemDraft", fields)


def call(**fields: Any) -> CallDraft:
    """A call with these fields only."""
    return cast("CallDraft", fields)


def elsewhere(code: str, opener: str, place: str) -> subprocess.Popen[str]:
    """`code` in another process, with `store` opened there."""
    text = opener.format(path=place) + "\n" + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {SOURCE_ROOT!r})\n{text}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Cases:
    """The base of the cases of every subject. `opener`: see the package."""

    opener: ClassVar[str | None] = None

    @pytest.fixture
    def store(self) -> Store:
        """The store under test. Override it."""
        raise NotImplementedError("override the fixture `store`")

    @pytest.fixture
    def place(self) -> str:
        """The path or address of the store, for `opener`."""
        pytest.skip("inapplicable: this store does not say where it is")

    @pytest.fixture
    def run(self, store: Store) -> str:
        """The id of a run that was created."""
        store.create_run(new_run("00a1"))
        return "00a1"

    @pytest.fixture
    def other_process(self, store: Store, place: str) -> Callable[[str], subprocess.Popen[str]]:
        """Starts code in another process, with `store` opened there."""
        opener = self.opener
        if opener is None:
            pytest.skip("inapplicable: this store lives in one process")
        return lambda code: elsewhere(code, opener, place)
