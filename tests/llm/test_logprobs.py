"""The probability of a label: the product over its tokens, each among those that go on to one of the labels."""

from __future__ import annotations

from math import log
from typing import Any

import pytest

from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.llm.logprobs import TokenLogprob, from_json, label_probability, read_tokens
from po_jupyter.llm.providers.fake import made_logprobs
from po_jupyter.llm.providers.refs import logprobs_problem

LABELS = ["bug", "bugfix", "question"]


def tokens(*answer: Any) -> list[TokenLogprob]:
    """Tokens as `text`, or `(text, probability, {alternative: probability})`."""
    made = []
    for one in answer:
        text, probability, others = (one, 1.0, {}) if isinstance(one, str) else one
        made.append(TokenLogprob(text, log(probability), tuple((t, log(p)) for t, p in others.items())))
    return made


def probability(*answer: Any, label: Any = "bug", labels: Any = LABELS) -> Any:
    return label_probability(tokens(*answer), "label", label, labels)


def test_a_label_is_as_probable_as_its_tokens_together() -> None:
    answer = ('{"', "label", '":"', ("qu", 0.8, {}), ("estion", 0.5, {}), '"}')
    assert probability(*answer, label="question") == pytest.approx(0.4)


def test_only_what_goes_on_to_a_label_counts() -> None:
    """0.6 of `bug` and 0.2 of `question`: 0.75, whatever else the model would have said instead of a label."""
    others = {"bug": 0.6, "question": 0.2, "Bug": 0.1, " bug": 0.05}
    assert probability('{"label": "', ("bug", 0.6, others), '"}') == pytest.approx(0.75)


def test_the_end_of_a_label_tells_it_from_a_longer_one() -> None:
    answer = ('{"label": "', "bug", ('"}', 0.7, {'"}': 0.7, "fix": 0.3}))
    assert probability(*answer) == pytest.approx(0.7)
    answer = ('{"label": "', "bug", ("fix", 0.3, {'"}': 0.7, "fix": 0.3}), '"}')
    assert probability(*answer, label="bugfix") == pytest.approx(0.3)


def test_a_token_that_may_become_either_counts_for_neither() -> None:
    others = {"bug": 0.5, "b": 0.3, "question": 0.2}
    assert probability(
        '{"label": "', ("bug", 0.5, others), '"}', labels=["bug", "bad", "question"]
    ) == pytest.approx(0.5 / 0.7)
    assert probability('{"label": "', ("bug", 0.5, others), '"}', labels=["bug", "question"]) == pytest.approx(
        0.8
    )


GRADES = {"1": 0.1, "9": 0.2, "10": 0.7}


@pytest.mark.parametrize("grade", GRADES)
def test_a_number_is_not_the_one_that_it_begins_with(grade: str) -> None:
    """Of 1 to 10 both 1 and 10 were certain: each counted as one that may still become the other."""
    answer = ('{"label": ', (grade, GRADES[grade], GRADES), "}")
    labels = list(range(1, 11))
    assert probability(*answer, label=int(grade), labels=labels) == pytest.approx(GRADES[grade])
    pointed = (*answer[:-1], ".", "0", "}")
    assert probability(*pointed, label=float(grade), labels=labels) == pytest.approx(GRADES[grade])


def test_the_digits_of_a_number_may_come_one_by_one() -> None:
    ends = {"}": 0.2, "0": 0.8}
    answer = ('{"label": ', ("1", 0.5, {"1": 0.5, "2": 0.5}), ("}", 0.2, ends))
    assert probability(*answer, label=1, labels=[1, 2, 10]) == pytest.approx(0.1)
    answer = (
        '{"label": ',
        ("1", 0.5, {"1": 0.5, "2": 0.5}),
        ("0", 0.8, ends),
        ("}", 1.0, {"}": 0.9, "\n": 0.1}),
    )
    assert probability(*answer, label=10, labels=[1, 2, 10]) == pytest.approx(0.4)


def test_a_token_that_is_another_label_already_is_no_beginning_of_the_longer_one() -> None:
    """`bug` beside `bugfix` was left out, so that `bugfix` was certain."""
    answer = ('{"label": "', ("bugfix", 0.4, {"bugfix": 0.4, "bug": 0.6}), '"}')
    assert probability(*answer, label="bugfix") == pytest.approx(0.4)


def test_a_token_may_hold_what_stands_before_and_behind() -> None:
    others = {' "bug"}': 0.9, ' "question': 0.1}
    assert probability('{"label":', (' "bug"}', 0.9, others)) == pytest.approx(0.9)


@pytest.mark.parametrize(("label", "text"), [(True, "true"), (None, "null"), (3, "3"), ("größer", '"größer"')])
def test_labels_of_any_kind(label: Any, text: str) -> None:
    answer = ('{"label": ', (text, 0.6, {}), "}")
    assert probability(*answer, label=label, labels=[label, "no"]) == pytest.approx(0.6)


def test_of_a_label_that_is_thought_of_before_the_last_one_counts() -> None:
    answer = ('Maybe {"label": "', ("bug", 0.2, {}), '"}. No: {"label": "', ("bug", 0.9, {}), '"}')
    assert probability(*answer) == pytest.approx(0.9)


def test_a_field_of_that_name_further_in_is_another_one() -> None:
    """The last one counted, which repeats the label and is certain of it."""
    answer = ('{"label": "', ("bug", 0.4, {}), '", "seen": [{"label": "', "bug", '"}], "why": "a \\"{"}')
    assert probability(*answer) == pytest.approx(0.4)
    answer = ('{"label": ', ("1", 0.4, {}), ', "seen": {"label": 12}}')
    assert probability(*answer, label=1, labels=[1, 2]) == pytest.approx(0.4)
    answer = ('A "quote and { in {"label": "', ("bug", 0.4, {}), '"}')
    assert probability(*answer) == pytest.approx(0.4)


def test_an_answer_without_the_label_or_without_probabilities_has_none() -> None:
    assert probability("It is a bug.") is None
    assert label_probability([], "label", "bug", LABELS) is None


def test_pieces_of_a_character_become_one_token() -> None:
    entries = [
        {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -2.0}]},
        {"token": "\\xc3", "logprob": -0.2, "bytes": [0xC3]},
        {"token": "\\xbc", "logprob": -0.3, "bytes": [0xBC]},
    ]
    a, ü = read_tokens(entries)
    assert a == TokenLogprob("a", -0.1, (("b", -2.0),))
    assert (ü.token, ü.logprob) == ("ü", pytest.approx(-0.5))
    assert read_tokens([{"token": "a", "logprob": None}]) == []


def test_a_response_keeps_them_and_one_of_before_has_none() -> None:
    response = ChatResponse("x", logprobs=made_logprobs('{"label": "bug"}', 0.7))
    again = ChatResponse.from_json(response.to_json())
    assert again.logprobs == response.logprobs
    assert label_probability(again.logprobs, "label", "bug", LABELS) == pytest.approx(0.7)
    assert "logprobs" not in ChatResponse("x").to_json()
    assert ChatResponse.from_json({"text": "x"}).logprobs == () == from_json(None)


def test_a_request_without_them_keeps_its_hash() -> None:
    one, two = (ChatRequest("fake:echo", (Message("user", "x"),), logprobs=yes) for yes in (False, True))
    assert "logprobs" not in one.to_json()
    assert one.request_hash != two.request_hash


@pytest.mark.parametrize(
    ("model", "effort"),
    [("openai:gpt-4.1-mini", None), ("openai:gpt-5.2", "none"), ("vertex:gemini-2.5-flash", None), ("azure:mine", None),
     ("deepseek:deepseek-chat", None), ("vllm:Qwen/Qwen3-4B", None), ("llamacpp:any", None), ("fake:echo", None)],
)  # fmt: skip
def test_models_that_give_them(model: str, effort: str | None) -> None:
    assert logprobs_problem(model, effort) is None


@pytest.mark.parametrize(
    ("model", "effort", "words"),
    [
        ("anthropic:claude-sonnet-4-5", None, "gives no log probabilities; models that do are"),
        ("gemini:gemini-2.5-flash", None, "gives no log probabilities; models that do are"),
        ("vertex:gemini-3.5-flash", None, "gives no log probabilities; models that do are"),
        ("openai:gpt-5-mini", None, "gives no log probabilities"),
        ("openai:gpt-5.2", "high", "while it thinks: set `effort: none`"),
        ("mistral:mistral-small-latest", None, "gives no log probabilities"),
    ],
)
def test_models_that_give_none_are_named_with_those_that_do(model: str, effort: str | None, words: str) -> None:
    assert words in (logprobs_problem(model, effort) or "")


@pytest.mark.parametrize(
    "sent", [1000, pytest.param(10**400, id="huge"), float("inf"), float("nan"), True, "0.5", None]
)
def test_a_number_that_is_no_log_probability_ends_nothing(sent: Any) -> None:
    """The answer is paid: whatever the server says beside it, it is kept."""
    entries = [
        {"token": '{"label": "', "logprob": 0.0},
        {"token": "bug", "logprob": sent, "top_logprobs": [{"token": "question", "logprob": sent}]},
        {"token": '"}', "logprob": 0.0, "top_logprobs": [{"token": "fix", "logprob": sent}]},
    ]
    found = label_probability(read_tokens(entries), "label", "bug", LABELS)
    assert found is None or 0.0 <= found <= 1.0


def test_a_token_that_the_server_holds_for_impossible_has_a_probability() -> None:
    read = read_tokens([
        {"token": '{"label": "', "logprob": 0.0},
        {"token": "bug", "logprob": -9999.0, "top_logprobs": [{"token": "I", "logprob": -0.1}]},
        {"token": '"}', "logprob": 0.0},
    ])  # fmt: skip
    assert label_probability(read, "label", "bug", LABELS) == 0.0


def test_bytes_that_never_become_a_character_are_not_gathered() -> None:
    assert read_tokens([{"token": "?", "logprob": -0.1, "bytes": [255]}] * 100_000) == []
