"""What people say of rows: recorded once beside the answers, judged as they are, and no run's course."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Conflict, InvalidInput, NotFound
from po_jupyter.model.run.review import answer_digest
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.telemetry.correlation import actor
from tests.support.orchestrator import orchestrator, wait_for_state

pytestmark = pytest.mark.integration

LABEL = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "question"]}}}
# Row 1 fails at first; what each row says is in its item.
SOURCE = """
import os, time

def ingestion(ctx):
    item = ctx.item
    while item.get("wait") and not os.path.exists(item["wait"]):
        time.sleep(0.01)
    if item.get("fail") and not os.path.exists(item["fail"]):
        raise ValueError("no label")
    if item.get("then") and os.path.exists(item["fail"]):
        return {"label": item["then"]}
    return {"label": item["label"]}
"""


def labels(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    task = {
        "name": "label", "source": SOURCE, "for_each": "{{ seed.rows }}", "output": LABEL,
        "retry": {"max_attempts": 1}, **more,
    }  # fmt: skip
    return {
        "pipeline": {"name": "labels", "tasks": [task]},
        "seed": {"name": "s", "data": {"rows": list(rows)}},
    }


async def started(service: RunningOrchestrator, *rows: dict[str, Any], ends: str = "done") -> str:
    view, _ = await service.submissions.submit(labels(*rows), owner="ann")
    if ends:
        await wait_for_state(service, view.id, [ends])
    return view.id


async def test_a_correction_is_recorded_and_the_answer_stays(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        run = await started(service, {"label": "bug"}, {"label": "question"})
        before = await service.runs.get(run, "ann")
        review, is_new = await service.reviews.record(
            run, "ann", "label", 0, decision="correct", output={"label": "question"}, note="it asks"
        )
        assert is_new
        assert (review["by"], review["decision"], review["output"]) == ("ann", "correct", {"label": "question"})
        assert (review["recorded"], review["note"], review["outdated"]) == ({"label": "bug"}, "it asks", False)
        await service.reviews.record(run, "ann", "label", 1, decision="agree")
        rows, _ = await service.results.items(run, "ann", "label")
        assert [row["output"]["label"] for row in rows] == ["bug", "question"]
        after = await service.runs.get(run, "ann")
        assert (after.state, after.tasks, after.usage) == (before.state, before.tasks, before.usage)
        page, cursor = await service.reviews.page(run, "ann", "label")
        assert [(r["index"], r["decision"], r["output"]) for r in page] == [
            (0, "correct", {"label": "question"}), (1, "agree", {"label": "question"}),
        ]  # fmt: skip
        assert cursor is None
        (event,) = [
            e for e in await service.runs.events(run, "ann", limit=1000) if e["type"] == "item.reviewed"
        ][:1]
        assert (event["task"], event["item"], event["data"]["by"]) == ("label", 0, "ann")


async def test_a_correction_is_judged_by_the_schema_and_one_that_says_the_same_agrees(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        run = await started(service, {"label": "bug"})
        wrongs: list[Any] = [{"label": "bugg"}, {}, "bug", None, ["bug"]]
        for wrong in wrongs:
            with pytest.raises(InvalidInput, match="does not fit the schema") as refused:
                await service.reviews.record(run, "ann", "label", 0, decision="correct", output=wrong)
            assert refused.value.details["violations"]
        assert (await service.reviews.page(run, "ann", "label"))[0] == []
        review, _ = await service.reviews.record(
            run, "ann", "label", 0, decision="correct", output={"label": "bug"}
        )
        assert (review["decision"], review["output"]) == ("agree", {"label": "bug"})


async def test_a_person_does_not_say_how_probable_an_answer_is(tmp_path: Path) -> None:
    """A label chosen by its key was refused, for the answer with its confidence does not fit a strict schema; the same
    label without it was a correction."""
    schema = {**LABEL, "additionalProperties": False}
    task = {
        "name": "label", "prompt": "Label {{ item }}", "for_each": "{{ seed.rows }}", "output": schema,
        "confidence": "logprobs", "llm": {"model": "fake:echo?confidence=0.6"},
    }  # fmt: skip
    body = {"pipeline": {"name": "labels", "tasks": [task]}, "seed": {"name": "s", "data": {"rows": [1, 2]}}}
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body, owner="ann")
        await wait_for_state(service, view.id, ["done"])
        chosen = {"label": "question", "confidence": 0.6}
        record = service.reviews.record
        review, _ = await record(view.id, "ann", "label", 0, decision="correct", output=chosen)
        assert (review["decision"], review["output"]) == ("correct", {"label": "question"})
        review, _ = await record(view.id, "ann", "label", 1, decision="correct", output={"label": "bug"})
        assert (review["decision"], review["output"]) == ("agree", {"label": "bug", "confidence": 0.6})


async def test_what_cannot_be_reviewed_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        run = await started(service, {"label": "bug"}, {"label": "bug", "fail": str(tmp_path / "never")})
        record = service.reviews.record
        with pytest.raises(NotFound, match="has no task 'labl'"):
            await record(run, "ann", "labl", 0, decision="agree")
        with pytest.raises(InvalidInput, match="has 2 rows, and none is 2"):
            await record(run, "ann", "label", 2, decision="agree")
        with pytest.raises(InvalidInput, match="there is no answer to agree with"):
            await record(run, "ann", "label", 1, decision="agree")
        with pytest.raises(InvalidInput, match="`agree` has no output"):
            await record(run, "ann", "label", 0, decision="agree", output={"label": "bug"})
        with pytest.raises(InvalidInput, match="more than"):
            await record(run, "ann", "label", 0, decision="correct", output={"label": "x" * 300_000})
        with pytest.raises(NotFound):
            await record(run, "bob", "label", 0, decision="agree")
        with pytest.raises(NotFound):
            await service.reviews.page(run, "bob", "label")
        with pytest.raises(InvalidInput, match="cursor"):
            await service.reviews.page(run, "ann", "label", cursor="x")
        review, _ = await record(run, "ann", "label", 1, decision="correct", output={"label": "bug"})
        assert (review["ok"], review["recorded"], review["output"]) == (False, None, {"label": "bug"})


async def test_the_same_request_is_recorded_once(tmp_path: Path) -> None:
    """A server that dies between the record and its answer is asked again: P2."""
    async with orchestrator(tmp_path) as service:
        run = await started(service, {"label": "bug"})
        answers = await asyncio.gather(*(
            service.reviews.record(run, "ann", "label", 0, decision="agree", request="r1") for _ in range(5)
        ))  # fmt: skip
        assert sorted(is_new for _, is_new in answers) == [False, False, False, False, True]
    async with orchestrator(tmp_path) as service:
        _, is_new = await service.reviews.record(run, "ann", "label", 0, decision="agree", request="r1")
        assert not is_new
        events = await service.runs.events(run, "ann", limit=1000)
        assert [e["type"] for e in events].count("item.reviewed") == 1


async def test_of_each_person_the_last_counts_and_disagreement_shows(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        run = await started(service, {"label": "bug"}, {"label": "bug"})
        for person, label in (("ann", "question"), ("bob", "question"), ("ann", "bug")):
            token = actor.set(person)
            await service.reviews.record(run, "ann", "label", 0, decision="correct", output={"label": label})
            actor.reset(token)
        page, _ = await service.reviews.page(run, "ann", "label")
        assert [(r["by"], r["output"]["label"], r["disputed"], r["mine"]) for r in page] == [
            ("ann", "bug", True, True), ("bob", "question", True, False),
        ]  # fmt: skip
        first, cursor = await service.reviews.page(run, "ann", "label", limit=1)
        assert first[0]["disputed"], "also where the other one is on the next page"
        second, end = await service.reviews.page(run, "ann", "label", limit=1, cursor=cursor)
        assert ([r["by"] for r in second], end) == (["bob"], None)


async def test_a_run_at_work_is_reviewed_and_goes_on(tmp_path: Path) -> None:
    """Its worker keeps its lease, and no row is done twice."""
    gate = tmp_path / "go"
    async with orchestrator(tmp_path / "data") as service:
        run = await started(service, {"label": "bug"}, {"label": "question", "wait": str(gate)}, ends="")
        async with asyncio.timeout(30), service.changes.subscribe(run) as notes:
            while not (await service.results.items(run, "ann", "label"))[0]:
                await notes.get(0.1)
        with pytest.raises(Conflict, match="no answer yet"):
            await service.reviews.record(run, "ann", "label", 1, decision="agree")
        fence = service.store.head(run)["fence"]
        await service.reviews.record(run, "ann", "label", 0, decision="correct", output={"label": "question"})
        gate.touch()
        view = await wait_for_state(service, run, ["done"])
        assert service.store.head(run)["fence"] == fence
        task = view.tasks[0]
        assert task.items is not None
        assert (task.items.done, task.attempt) == (2, 1)
        assert [r["index"] for r in (await service.reviews.page(run, "ann", "label"))[0]] == [0]


async def test_a_review_belongs_to_the_answer_that_it_saw(tmp_path: Path) -> None:
    """The row is asked again and answers otherwise: the review stays, says so, and counts no longer."""
    flag = tmp_path / "again"
    row = {"label": "bug", "fail": str(flag), "then": "question"}
    async with orchestrator(tmp_path / "data") as service:
        run = await started(service, row, ends="failed")
        await service.reviews.record(run, "ann", "label", 0, decision="correct", output={"label": "bug"})
        flag.touch()
        await service.control.resume(run, "ann", only_failed=True)
        await wait_for_state(service, run, ["done"])
        (review,), _ = await service.reviews.page(run, "ann", "label")
        assert (review["outdated"], review["recorded"], review["output"]) == (
            True, {"label": "question"}, {"label": "bug"},
        )  # fmt: skip
        with pytest.raises(Conflict, match="another answer since you saw it"):
            await service.reviews.record(
                run, "ann", "label", 0, decision="agree", answer=answer_digest(False, None)
            )
        seen = answer_digest(True, {"label": "question"})
        review, _ = await service.reviews.record(run, "ann", "label", 0, decision="agree", answer=seen)
        assert not review["outdated"]
