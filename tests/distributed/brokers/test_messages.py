"""Run messages as JSON: written as they are read, and anything else refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.distributed.brokers.messages import LABEL, RUN, from_json, to_json
from po_jupyter.distributed.brokers.protocol import RunMessage

MESSAGES = st.builds(
    RunMessage,
    st.from_regex(RUN, fullmatch=True),
    st.integers(0, 9),
    st.lists(st.from_regex(LABEL, fullmatch=True), max_size=8).map(tuple),
)


@given(MESSAGES)
def test_a_message_is_read_as_it_was_written(message: RunMessage) -> None:
    assert from_json(to_json(message)) == message._replace(labels=tuple(sorted(set(message.labels))))


def test_priority_and_labels_may_be_missing() -> None:
    assert from_json({"run": "1", "later": "x"}) == RunMessage("1", 0, ())


@pytest.mark.parametrize(
    "value",
    [
        None, [], "1", {}, {"run": 1}, {"run": ""}, {"run": "a\n"}, {"run": "é"}, {"run": "a/b"},
        {"run": "1", "priority": True}, {"run": "1", "priority": 1.0}, {"run": "1", "priority": -1},
        {"run": "1", "labels": "gpu"}, {"run": "1", "labels": None}, {"run": "1", "labels": ["a"] * 9},
        {"run": "1", "labels": ["a\n"]}, {"run": "1", "labels": [1]}, {"run": "1", "labels": ["x" * 101]},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_message_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"run|priority|label"):
        from_json(value)
