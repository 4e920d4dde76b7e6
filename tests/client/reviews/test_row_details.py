"""One row with all that is known of it: what was sent, what came back, who paid, what people say."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.client.reviews.row_details import RowDetails, row_details, row_place
from po_jupyter.errors import InvalidInput, ModelRefused, NotFound
from tests.support.engine import RUN
from tests.support.run_page import MAP, RunPage
from tests.support.shards import Family

OTHER = "0193f00000000000abcdee"


def aio(page: RunPage, reviews: list[Any] | None = None) -> Any:
    """What a client asks, of the orchestrator's own views."""
    look = page.inspection

    async def calls(run: str, **query: Any) -> Any:
        found = await look.calls(run, "me", **query)
        return found["calls"], found["next"]

    async def reviewed(run: str, task: str, **query: Any) -> Any:
        return reviews or [], None

    async def expected(run: str, task: str, index: int) -> Any:
        return [{"scores": ["exact"], "value": "apple", "problem": None}]

    return SimpleNamespace(
        inspection=SimpleNamespace(
            row=lambda run, task, index: look.row(run, "me", task, index),
            provenance=lambda run, task, row: look.provenance(run, "me", task, row),
            expected=expected,
            call=lambda run, n: look.call(run, "me", n), calls=calls, reviews=SimpleNamespace(page=reviewed),
        )
    )  # fmt: skip


async def page_of(tmp: Path, replies: list[Any], **fields: Any) -> RunPage:
    page = RunPage(tmp, replies)
    page.bench.create([{**MAP, "max_concurrency": 1, **fields}], {"rows": [{"text": "pear"}, {"text": "fig"}]})
    assert await page.bench.go() == "done"
    return page


async def test_a_row_has_its_messages_its_raw_answer_and_where_it_is_from(tmp_path: Path) -> None:
    page = await page_of(tmp_path, ["green", "blue \x1b[31m"], system="Be brief.")
    row = await row_details(aio(page), RUN, "label", 1)
    (call,) = row["calls"]
    assert [message["content"] for message in call["messages"]] == ["Be brief.", "Label fig"]
    assert (call["answer"], call["exact"]) == ("blue \x1b[31m", True)
    source = row["provenance"]
    assert source["prompt_hash"] in call["key"] and source["model"] and source["asked_at"]
    text = str(row)
    assert "Label fig" in text and "Be brief." in text and source["prompt_hash"] in text
    assert "\x1b" not in text and "\x1b" not in row._repr_html_()
    assert isinstance(row, RowDetails) and row["input"] == {"text": "fig"}


async def test_votes_are_all_calls_of_the_row(tmp_path: Path) -> None:
    page = await page_of(tmp_path, ["a", "b", "a", "c", "c", "c"], votes=3)
    row = await row_details(aio(page), RUN, "label", 0)
    assert [call["answer"] for call in row["calls"]] == ["a", "b", "a"]
    assert "67% of 3 agree" in str(row)


async def test_a_reused_row_has_the_calls_of_the_run_that_paid(tmp_path: Path) -> None:
    page = await page_of(tmp_path, ["green", "blue"])
    page.bench.run = OTHER
    page.bench.create([{**MAP, "max_concurrency": 1}], {"rows": [{"text": "new"}, {"text": "fig"}]})
    assert await page.bench.go() == "done"
    row = await row_details(aio(page), OTHER, "label", 1)
    assert row["provenance"]["reused_from"] == f"{RUN}/label/1"
    assert [call["answer"] for call in row["calls"]] == ["blue"]
    page.bench.store.delete_run(RUN)
    row = await row_details(aio(page), OTHER, "label", 1)
    assert row["calls"] == [] and "is gone" in row["notes"][0]
    assert row["output"] == "blue"


async def test_a_row_of_variants_has_what_its_variant_asked(tmp_path: Path) -> None:
    variants = {"a": {"system": "As a."}, "b": {"prompt": "b {{ item.text }}"}}
    page = await page_of(tmp_path, [], variants=variants)
    sent = [
        [
            message["content"]
            for message in (await row_details(aio(page), RUN, "label", n))["calls"][0]["messages"]
        ]
        for n in range(4)
    ]
    assert sent == [["As a.", "Label pear"], ["b pear"], ["As a.", "Label fig"], ["b fig"]]
    row = await row_details(aio(page), RUN, "label", 3)
    assert row["calls"][0]["exact"] and "variant b" in str(row)


async def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    source = "def inference(ctx):\n    return ctx.llm.chat('x ' + ctx.item['text']).text if ctx.index else 1\n"
    page = await page_of(tmp_path, ["y"], prompt=None, source=source)
    computed, asked = [await row_details(aio(page), RUN, "label", n) for n in (0, 1)]
    assert computed["calls"] == [] and "no model was asked" in str(computed)
    assert "the journal keeps only their hash" in str(asked) and "y" in str(asked)
    with pytest.raises(NotFound, match="none is 9"):
        await row_details(aio(page), RUN, "label", 9)


async def test_what_is_expected_is_said_of_a_row_without_an_answer_too(tmp_path: Path) -> None:
    page = await page_of(tmp_path, [ModelRefused("no"), "blue"], failure_threshold=0.5)
    failed, unscored = [await row_details(aio(page), RUN, "label", n) for n in (0, 1)]
    assert failed["state"] == "failed" and "expected    apple" in str(failed)
    assert unscored["expected"] == []


async def test_what_people_say_stands_beside_the_answer(tmp_path: Path) -> None:
    page = await page_of(tmp_path, ["green", "blue"])
    review = {
        "task": "label", "index": 1, "id": "r", "by": "ada", "at": "2026", "decision": "correct", "answer": "d",
        "output": "purple", "note": "", "ok": True, "recorded": "blue", "outdated": False, "mine": True,
        "disputed": False,
    }  # fmt: skip
    row = await row_details(aio(page, [review]), RUN, "label", 1)
    assert row["correction"] == {"output": "purple", "corrected": True, "by": ["ada"], "disputed": False}
    assert "purple (ada)" in str(row)
    assert (await row_details(aio(page, [review]), RUN, "label", 0))["correction"] is None


def test_the_place_of_a_row_is_its_task_and_its_number() -> None:
    assert row_place("label:17") == ("label", 17)
    for wrong in ("label", "17", "label:", "label:-1", "label:x", ":3"):
        with pytest.raises(InvalidInput, match="is no row"):
            row_place(wrong)


async def test_a_row_of_a_child_run_is_one_of_its_map(tmp_path: Path) -> None:
    page = RunPage(tmp_path)
    page.bench = Family(tmp_path, page.bench.store)
    page.bench.create([{**MAP, "shards": 2}], {"rows": [{"text": "pear"}, {"text": "fig"}]})
    assert await page.bench.go() == "done"
    row = await row_details(aio(page), RUN, "label", 1)
    (call,) = row["calls"]
    assert call["messages"] == [{"role": "user", "content": "Label fig"}] and call["exact"]
    assert row["provenance"]["prompt_hash"] in call["key"]
