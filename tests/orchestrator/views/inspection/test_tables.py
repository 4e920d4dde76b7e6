"""The tables of a run: made in one pass, past what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.store.protocol import Commit
from tests.support.run_page import DamagedStore, inspection
from tests.support.stored_runs import RUN as STORED
from tests.support.stored_runs import store_run


async def test_what_cannot_be_read_is_a_note_and_the_rest_is_shown(tmp_path: Path) -> None:
    """C8: one corrupt row is not the end of a page."""
    store = DamagedStore()
    store_run(store)
    lease = store.claim(STORED, {"pid": 1})
    for i in range(3):
        item: Any = {"task": "one", "index": i, "ok": True, "output": 0}
        store.commit(lease, Commit([], [item], payloads=[f"out {i}"]))
    store.damage(f"c/{STORED}/00000003", f"p/{STORED}/00000004")
    look = inspection(store, Settings(data_dir=tmp_path))
    answer = await look.rows(STORED, "", "one")
    assert [(row["output"], "unreadable" in row["flags"]) for row in answer["rows"]] == [
        ("out 0", False), (None, False), (None, True),
    ]  # fmt: skip
    assert answer["notes"]
    assert [row["index"] for row in (await look.rows(STORED, "", "one", q="out"))["rows"]] == [0]
