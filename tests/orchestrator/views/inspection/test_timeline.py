"""The course of a run."""

from __future__ import annotations

from pathlib import Path

from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.orchestrator.views.inspection.timeline import MOST_SPANS, Timeline
from tests.support.engine import RUN
from tests.support.run_page import fruit_page


async def test_the_timeline_has_attempts_stages_and_counted_rows(tmp_path: Path) -> None:
    page = await fruit_page(tmp_path)
    (span,) = (await page.inspection.timeline(RUN, "me"))["spans"]
    assert (span["task"], span["attempt"], span["state"], span["rows"]) == ("label", 1, "done", [3, 0, 3])
    assert span["started_at"] <= span["ended_at"]


def test_stages_attempts_waits_and_gates_are_spans_and_there_are_not_too_many() -> None:
    timeline = Timeline()

    def apply(*events: EventDraft) -> None:
        timeline.apply(
            {"n": 1, "at": "", "fence": 1, "first": 1, "events": list(events), "items": [], "calls": []}
        )

    apply(draft("task.started", "a", attempt=1), draft("task.stage", "a", stage="ingestion", round=0))
    apply(
        draft("task.waiting", "a", reason="openai", seconds=3.0),
        draft("task.stage", "a", stage="inference", round=0),
    )
    apply(draft("task.retrying", "a", attempt=1, delay=1.0, error={}), draft("task.started", "a", attempt=2))
    apply(draft("task.done", "a", output=0, seconds=1.0), draft("gate.opened", "g", message="", artifacts=[]))
    apply(draft("run.waiting"))
    found = [(s["task"], s["stage"], s["attempt"], s["state"], s["wait"], s["reason"]) for s in timeline.spans]
    assert found == [
        ("a", "ingestion", 1, "done", 3.0, "openai"), ("a", "inference", 1, "failed", 0.0, None),
        ("a", None, 2, "done", 0.0, None), ("g", None, 1, "waiting", 0.0, "a decision"),
    ]  # fmt: skip
    gate = timeline.spans[-1]
    gate["started_at"] = "2026-01-01T00:00:00.000Z"
    apply(draft("gate.decided", "g", decision="approve") | {"at": "2026-01-01T00:04:30.500Z"})
    assert (gate["state"], gate["ended_at"], gate["wait"]) == ("done", "2026-01-01T00:04:30.500Z", 270.5)
    for attempt in range(3, MOST_SPANS + 10):
        apply(draft("task.started", "a", attempt=attempt))
    assert len(timeline.spans) == MOST_SPANS
    assert timeline.cut
