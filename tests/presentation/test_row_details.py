"""One row as people read it: whatever a model wrote moves no cursor and is no HTML."""

from __future__ import annotations

from typing import Any

from po_jupyter.presentation.row_details import row_html, row_text

CALL: Any = {
    "n": 4, "state": "done", "cached": False, "kind": "inference", "attempt": 1, "round": 0, "model": "m",
    "batch": True, "started_at": "2026-11-27T12:00:00Z", "input_tokens": 5, "output_tokens": 2,
    "cost_usd": None, "exact": False,
    "messages": [{"role": "user", "content": "hi \x1b]0;x\x07"}], "answer": "<b>\x1b[31m", "error": {"message": "late"},
    "tool_calls": [{"name": "look"}],
}  # fmt: skip
ROW: Any = {
    "task": "label", "index": 17, "run": "0192f0c3a1b2deadbe7f3a", "variant": "short", "state": "done",
    "input": {"a": 1}, "output": "x", "error": None, "cost_usd": None, "tokens": 7, "seconds": 1.0,
    "flags": ["cached"], "calls": [CALL],
    "provenance": {"model": "m-1", "asked_at": "t", "attempt": 2, "prompt_hash": "ab12", "reused_from": "r/label/3"},
    "scores": {"values": {"exact": 1.0, "judge": None}, "notes": {"judge": "it was late"}},
    "expected": [{"scores": ["exact"], "value": {"a": "b\x1b"}, "problem": None},
                 {"scores": ["judge"], "value": None, "problem": "no such field"}],
    "agreement": 0.5, "votes": 4,
    "correction": {"output": "y", "corrected": True, "by": ["ada", "bo"], "disputed": True}, "notes": ["a note"],
}  # fmt: skip


def test_all_that_is_known_is_there_and_nothing_is_obeyed() -> None:
    text = row_text(ROW)
    for part in (
        "label row 17, variant short of run", "m-1", "ab12", "r/label/3", "cost unknown", "cached", "exact 1",
        "judge – (it was late)", "no such field (judge)",
        "50% of 4 agree", "y (ada, bo, who disagree)", "a note", "in a batch", "late", "look",
        "their hash is not that of what was sent",
    ):  # fmt: skip
        assert part in text, part
    assert "\x1b" not in text and "\x07" not in text


def test_html_escapes_what_a_model_wrote() -> None:
    page = row_html(ROW)
    assert "<b>\ufffd" not in page and "&lt;b&gt;" in page and "\x1b" not in page


def test_what_was_not_sent_or_not_corrected_is_said() -> None:
    row = {**ROW, "calls": [{**CALL, "messages": None, "why": "only a hash"}], "provenance": None,
           "correction": {"output": "x", "corrected": False, "by": ["ada"], "disputed": False},
           "state": "failed", "error": {"message": "no luck"}}  # fmt: skip
    text = row_text(row)
    assert "only a hash" in text and "agreed by" in text and "no luck" in text
