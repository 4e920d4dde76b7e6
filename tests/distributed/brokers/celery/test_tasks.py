"""Run messages as Celery's: it can read ours, and what others write is read or refused."""

from __future__ import annotations

import json

import pytest
from celery import Celery
from celery.worker.request import Request
from hypothesis import given
from hypothesis import strategies as st
from kombu.message import Message

from po_jupyter.distributed.brokers.celery.tasks import MAX_BYTES, TASK, decode, encode
from po_jupyter.distributed.brokers.protocol import RunMessage

MESSAGE = RunMessage("01jd", 7, ("gpu", "highmem"))


def test_celery_reads_our_messages() -> None:
    app = Celery("theirs", set_as_current=False)

    @app.task(name=TASK)
    def work(run: str, priority: int, labels: list[str]) -> None:
        """What somebody might have there."""

    task = encode(MESSAGE)
    message = Message(
        task.body, headers=task.headers, properties=task.properties, content_type="application/json",
        content_encoding="utf-8", delivery_info={}, accept=["application/json"],
    )  # fmt: skip
    request = Request(message, app=app)
    assert request.name == TASK
    assert request.kwargs == {"run": "01jd", "priority": 7, "labels": ["gpu", "highmem"]}
    assert request.ignore_result


def test_a_message_is_read_as_it_was_written() -> None:
    task = encode(MESSAGE)
    assert decode(task.headers, "application/json", task.body) == MESSAGE
    assert decode(task.headers, "application/json", task.body.encode()) == MESSAGE


def test_what_a_newer_node_adds_is_passed_over() -> None:
    body = json.dumps([[], {"run": "1", "priority": 0, "labels": [], "trace": "x"}, {"later": 1}])
    assert decode({"task": TASK, "later": 1}, "application/json", body) == RunMessage("1")


def test_a_message_has_no_secret_and_no_name_of_a_user() -> None:
    """It lies on somebody's broker: the id of the run is all that it tells."""
    task = encode(MESSAGE)
    assert json.loads(task.body)[1] == {"run": "01jd", "priority": 7, "labels": ["gpu", "highmem"]}


@given(st.binary(max_size=200) | st.text(max_size=200) | st.none() | st.integers())
def test_any_body_is_read_or_refused(body: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode({"task": TASK}, "application/json", body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["run", "labels"]), inner),
    max_leaves=10,
)


@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    for body in (value, [[], value, {}]):
        try:
            found = decode({"task": TASK}, "application/json", json.dumps(body))
        except ValueError:
            continue
        assert isinstance(found, RunMessage)


@pytest.mark.parametrize("headers", [None, {}, {"task": "os.system"}, {"task": ["po.run"]}, "po.run"])
def test_only_one_task_is_known(headers: object) -> None:
    with pytest.raises(ValueError, match="task"):
        decode(headers, "application/json", encode(MESSAGE).body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body", ["[" * 60_000, "x" * (MAX_BYTES + 1), "NaN", "1e999", '[[], {"run": NaN}, {}]']
)
def test_what_is_too_deep_or_too_long_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode({"task": TASK}, "application/json", body)
