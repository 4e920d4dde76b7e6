"""The variants of a map beside each other, and its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.llm.chat import ChatRequest
from po_jupyter.presentation.comparisons import variants_html, variants_text
from tests.support.engine import RUN
from tests.support.run_page import RunPage

ROWS = [{"text": f"t{n}", "gold": "bug" if n % 2 else "question"} for n in range(10)]
TASK: dict[str, Any] = {
    "name": "label", "for_each": "{{ seed.rows }}", "max_concurrency": 1,
    "variants": {"short": {"prompt": "short {{ item.text }}"}, "long": {"prompt": "long {{ index }} {{ item.text }}"}},
    "score": {"expect": "{{ item.gold }}", "metrics": ["exact"]},
}  # fmt: skip


async def labelled(tmp: Path, **fields: Any) -> RunPage:
    """The long prompt is right of every row, the short one of those with an odd number."""
    page = RunPage(tmp)
    chat = page.bench.fake.chat

    async def answer(request: ChatRequest, **more: Any) -> Any:
        prompt = request.messages[-1].content
        gold = "bug" if int(prompt[-1]) % 2 else "question"
        return replace(await chat(request, **more), text="bug" if prompt.startswith("short") else gold)

    page.bench.fake.chat = answer  # type: ignore[method-assign]
    page.bench.create([{**TASK, **fields}], {"rows": ROWS})
    assert await page.bench.go() == "done"
    return page


async def test_variants_have_their_scores_costs_and_a_test_of_each_pair(tmp_path: Path) -> None:
    page = await labelled(tmp_path)
    asked = len(page.bench.fake.requests)
    found = await page.inspection.variants(RUN, "me", "label")
    short, long = found["variants"]
    assert (found["rows"], short["rows"], short["done"], long["failed"]) == (10, 10, 10, 0)
    assert (short["scores"][0]["mean"], long["scores"][0]["mean"]) == (0.5, 1.0)
    assert (short["tokens"] > 0 and short["models"] == ["fake:echo"]) or short["models"] == ["echo"]
    (pair,) = found["pairs"]
    assert (pair["a"], pair["b"], pair["agreement"]) == ("short", "long", 0.5)
    (score,) = pair["scores"]
    assert (score["both"], score["a_only"], score["b_only"], score["p"]) == (5, 0, 5, 0.0625)
    assert len(page.bench.fake.requests) == asked
    text = variants_text(found)
    assert "label: 2 variants of 10 rows" in text and "0.50 (0.24 to 0.76)" in text and "0.062" in text
    assert "<table" in variants_html(found)


async def test_rows_say_their_variant_and_have_the_input_of_their_row(tmp_path: Path) -> None:
    page = await labelled(tmp_path)
    rows = (await page.rows(limit=4))["rows"]
    assert [row["variant"] for row in rows] == ["short", "long"] * 2
    assert [row["input"]["text"] for row in rows] == ["t0", "t0", "t1", "t1"]
    (call,) = (await page.inspection.calls(RUN, "me", task="label", row=3))["calls"]
    whole = await page.inspection.call(RUN, "me", call["n"])
    assert whole["messages"] == [{"role": "user", "content": "long 1 t1"}]
    assert whole["exact"]


async def test_rows_of_one_variant_are_a_page_of_their_own(tmp_path: Path) -> None:
    page = await labelled(tmp_path)
    found = await page.rows(variant="long", start=2, limit=3)
    assert [(row["index"], row["variant"]) for row in found["rows"]] == [(5, "long"), (7, "long"), (9, "long")]
    assert (found["matching"], found["total"], found["next"]) == (10, 20, 5)
    assert (found["variants"], found["scores"]) == (["short", "long"], ["exact"])
    assert [row["index"] for row in (await page.rows(variant="short", q="t3"))["rows"]] == [6]
    assert (await page.rows(variant="short", sort="index", desc=True, limit=1))["rows"][0]["index"] == 18
    assert (await page.rows(variant="short", state="failed"))["matching"] == 0
    assert (await page.rows(limit=1))[
        "matching"
    ] == 20  # nothing that was found before is kept for another question
    with pytest.raises(InvalidInput, match="no variant is named 'middle'") as refused:
        await page.rows(variant="middle")
    assert refused.value.hint == "The variants of this task: short, long."


async def test_a_map_without_variants_has_no_rows_of_one(tmp_path: Path) -> None:
    page = await labelled(tmp_path, variants=None, prompt="short {{ item.text }}", score=None)
    assert [(await page.rows())[names] for names in ("variants", "scores")] == [[], []]
    with pytest.raises(InvalidInput, match="no variant is named"):
        await page.rows(variant="short")


async def test_a_map_without_variants_has_none_to_compare(tmp_path: Path) -> None:
    page = await labelled(tmp_path, variants=None, prompt="short {{ item.text }}")
    with pytest.raises(InvalidInput, match="no variants to compare"):
        await page.inspection.variants(RUN, "me", "label")
