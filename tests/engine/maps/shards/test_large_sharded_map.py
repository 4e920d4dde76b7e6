"""Done-when 5 of the eleventh issue: 50,000 rows with `shards: 4` give the same frame, bill and resume as without."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from po_jupyter.engine.replay.history import read_history
from po_jupyter.errors import ModelRefused
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.usage import Usage
from po_jupyter.store.disk.store import DiskStore
from tests.support.shards import Family

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

ROWS = 50_000
FAILS = 100  # each row whose number ends like this refuses at first


class Instant(FakeProvider):
    """A model that answers at once, refuses one row of a hundred at first, and counts."""

    def __init__(self) -> None:
        super().__init__(())
        self.refuse = True
        self.calls = 0

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        self.calls += 1
        number = int(request.messages[-1].content.rsplit(" ", 1)[1])
        if self.refuse and number % FAILS == 7:
            raise ModelRefused("not this one")
        usage = Usage(input_tokens=40 + number % 7, output_tokens=6, calls=1)
        return ChatResponse(f"label {number % 3}", usage, request.model)


async def work_off(at: Path, shards: int | None) -> dict[str, object]:
    """The digests of the frame and the bill after the run, and after its failed rows were asked again."""
    family = Family(at, DiskStore(at / "store", shards=2))
    model = Instant()
    family.fake = model  # type: ignore[assignment]
    family.patience = 800.0
    task = {"name": "m", "for_each": "{{ seed.rows }}", "prompt": "ticket {{ item }}", "max_concurrency": 50}
    family.create([{**task, "shards": shards}], {"rows": list(range(ROWS))})
    found: dict[str, object] = {}
    for turn in ("first", "again"):
        assert await family.go() == "done"
        digest = hashlib.sha256()
        for row in family.rows("m"):
            error = row["error"] and [row["error"]["code"], row["error"]["message"]]
            digest.update(json.dumps([row["index"], row["ok"], row["output"], error]).encode())
        state = read_history(family.store, family.run).state
        items = state.tasks["m"].items
        assert items is not None
        found[turn] = [digest.hexdigest(), state.usage.to_json(), items.model_dump(), model.calls]
        model.refuse = False
        family.store.request(
            family.run, [draft("run.resumed", by="me", reset=["m"], clear=[])], state="pending"
        )
    found["children"] = len(family.children())
    family.store.close()
    return found


async def test_fifty_thousand_rows_with_and_without_shards(tmp_path: Path) -> None:
    with_shards, without = await work_off(tmp_path / "with", 4), await work_off(tmp_path / "without", None)
    assert with_shards.pop("children") == 8
    assert without.pop("children") == 0
    assert with_shards == without
