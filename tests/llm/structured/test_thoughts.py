"""Thoughts: a draft in them never passes for the answer (A2)."""

from __future__ import annotations

import pytest

from po_jupyter.errors import AnswerUnreadable
from po_jupyter.llm.structured.parsing import AnswerValidator, parse_json

LABEL = AnswerValidator(
    {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}
)
DRAFT = 'Maybe {"label": "praise"}? No.\n'
ANSWER = '{"label": "bug"}'
ANALYSIS = f"<|channel|>analysis<|message|>{DRAFT}<|end|>"
COMMENTARY = f"<|channel|>commentary<|message|>{DRAFT}<|end|>"
ENDED = {
    "no beginning": f"{DRAFT}</think>\n{ANSWER}",
    "think": f"<think>{DRAFT}</think>{ANSWER}",
    "thinking": f"<thinking>{DRAFT}</thinking>\n\n{ANSWER}",
    "upper case": f"<THINK>{DRAFT}</Think >{ANSWER}",
    "spaces": f"< think >{DRAFT}</ think >{ANSWER}",
    "attributes": f'<think budget="3">{DRAFT}</think>{ANSWER}',
    "several": f"<think>{DRAFT}</think>{DRAFT}<think>again {DRAFT}</think>{ANSWER}",
    "several, of which one has no beginning": f"{DRAFT}</think>{DRAFT}</thinking>{ANSWER}",
    "one in the other": f"<think><thinking>{DRAFT}</thinking>{DRAFT}</think>{ANSWER}",
    "prose before": f"Let me see. <think>{DRAFT}</think>{ANSWER}",
    "thought": f"<thought>{DRAFT}</thought>{ANSWER}",
    "reasoning": f"<reasoning>{DRAFT}</reasoning>{ANSWER}",
    "scratchpad": f"<scratchpad>{DRAFT}</scratchpad>{ANSWER}",
    "Claude's": f"<antthinking>{DRAFT}</antthinking>{ANSWER}",
    "Seed's": f"<seed:think>{DRAFT}</seed:think>{ANSWER}",
    "Mistral's": f"[THINK]{DRAFT}[/THINK]{ANSWER}",
    "Kimi's": f"◁think▷{DRAFT}◁/think▷{ANSWER}",
    "Cohere's": f"<|START_THINKING|>{DRAFT}<|END_THINKING|>{ANSWER}",
    "OpenThoughts'": f"<|begin_of_thought|>{DRAFT}<|end_of_thought|>{ANSWER}",
    "harmony": f"{ANALYSIS}<|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>",
    "harmony, with a format": f"{ANALYSIS}<|start|>assistant<|channel|>final <|constrain|>json<|message|>{ANSWER}",
    "harmony with a commentary": f"{ANALYSIS}{COMMENTARY}<|channel|>final<|message|>{ANSWER}",
    "harmony without its tokens": f"analysis{DRAFT}assistantfinal{ANSWER}",
    "a fenced draft": f"<think>\n```json\n{DRAFT[6:25]}\n```\n</think>\n```json\n{ANSWER}\n```",
    "a broken draft": f'<think>{{"label": "praise" </think>{ANSWER}',
    "a draft in quotes that never end": f'<think>{{"label": "pra</think>{ANSWER}',
    "a draft that is a list": f"[1] {DRAFT}</think> As [1] says: {ANSWER}",
}
NEVER_ENDED = {
    "think": f"<think>{DRAFT}",
    "thinking": f"<Thinking>\n{DRAFT}",
    "after an earlier one": f"<think>a</think>{DRAFT}<think>{DRAFT}",
    "harmony": f"<|channel|>analysis<|message|>{DRAFT}",
    "harmony, after an answer": f"<|channel|>final<|message|>{DRAFT}<|end|><|channel|>analysis<|message|>hm {DRAFT}",
    "Kimi's": f"◁think▷{DRAFT}",
    "nothing after it": f"<think>{DRAFT}</think>",
    "prose after it": f"<think>{DRAFT}</think> It is a bug.",
}
IN_STRINGS = {
    "the whole": '{"label": "bug", "why": "it says </think> twice"}',
    "fenced": '```json\n{"label": "bug", "why": "</think>"}\n```',
    "in prose": 'Sure: {"label": "bug", "why": "<think> is a tag"} and that is all.',
    "after a thought": f'<think>{DRAFT}</think>Here: {{"label": "bug", "why": "a </think> b"}}.',
    "fenced in prose": 'So:\n```json\n{"label": "bug", "why": "<thinking>"}\n```\nDone.',
}


@pytest.mark.parametrize("name", ENDED)
def test_a_draft_does_not_pass_for_the_answer(name: str) -> None:
    assert LABEL.parse(ENDED[name]) == {"label": "bug"}
    assert parse_json(ENDED[name], want=dict) == {"label": "bug"}


@pytest.mark.parametrize("name", NEVER_ENDED)
def test_a_thought_that_never_ends_holds_no_answer(name: str) -> None:
    with pytest.raises(AnswerUnreadable):
        LABEL.parse(NEVER_ENDED[name])
    with pytest.raises(AnswerUnreadable):
        parse_json(NEVER_ENDED[name])


@pytest.mark.parametrize("name", IN_STRINGS)
def test_a_mark_in_a_string_of_the_answer_is_text(name: str) -> None:
    assert LABEL.parse(IN_STRINGS[name])["label"] == "bug"


def test_a_text_is_what_follows_the_thought() -> None:
    word = AnswerValidator({"enum": ["bug", "praise"]})
    assert word.parse("<think>praise?</think>\nbug") == "bug"
    assert AnswerValidator({"type": "string"}).parse("<think>hm</think>\nIt broke.") == "It broke."


def test_long_texts_of_marks_are_read_in_linear_time() -> None:
    text = "<think" * 20_000 + "<|channel|>" * 20_000 + "analysis" * 20_000 + '{"a' * 20_000
    with pytest.raises(AnswerUnreadable):
        LABEL.parse(text)
