"""Values that people keep, copy and hand to other processes: runs by id, answers as data, nothing with a token."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from pydantic import BaseModel

import po_jupyter as po
from po_jupyter import errors
from po_jupyter.client.async_client import Endpoint
from po_jupyter.client.client import Client
from po_jupyter.client.run import Run
from po_jupyter.model.run.answer import Answer
from po_jupyter.model.run.usage import Usage
from tests.support.runs import run_view

TOKEN = "a-token-of-the-orchestrator"


class Label(BaseModel):
    label: str


@pytest.fixture
def run() -> Run:
    client = Client(Endpoint("http://127.0.0.1:1/", TOKEN))
    return Run(client, run_view(state="done", seed={"rows": [{"text": "a row of somebody"}] * 10}))


def test_a_run_is_pickled_by_its_id(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was: cannot pickle '_thread.RLock' object."""
    data = pickle.dumps(run)
    assert TOKEN.encode() not in data and b"a row of somebody" not in data
    here = Client(Endpoint("http://127.0.0.1:2/", "x"))
    monkeypatch.setattr(po, "connect", lambda: here)
    again = pickle.loads(data)
    assert (again.id, again.short, repr(again)) == (run.id, run.short, repr(run))
    assert again.client is here, "found where it is used, at the first question"
    assert again.outputs._run is again


def test_a_pickled_run_is_asked_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it knew may be years old."""
    again = pickle.loads(pickle.dumps(run))
    fresh = run_view(state="failed")
    monkeypatch.setattr(Run, "refresh", lambda self: self._update(fresh))
    assert again.state == "failed"


def test_a_copy_of_a_run_shares_its_connection(run: Run) -> None:
    for again in (copy.copy(run), copy.deepcopy(run), copy.deepcopy({"runs": [run]})["runs"][0]):
        assert again is not run and again.id == run.id
        assert again.client is run.client
        assert again.view.seed == run.view.seed
        assert again.outputs._run is again
    assert copy.deepcopy(run.client) is run.client


def test_a_client_says_why_it_is_not_pickled(run: Run) -> None:
    """P10."""
    with pytest.raises(TypeError, match=r"token and is not pickled.*po\.connect\(\)"):
        pickle.dumps(run.client)


@pytest.mark.parametrize("value", [None, {"label": "bug"}, Label(label="bug")])
def test_an_answer_is_data(run: Run, value: Any) -> None:
    answer = Answer("text", value, Usage(input_tokens=3, cost=0.1, calls=1), "openai:gpt-5-mini", run)
    for again in (pickle.loads(pickle.dumps(answer)), copy.deepcopy(answer), copy.copy(answer)):
        assert again == answer and str(again) == "text"
        assert again.run.id == run.id


def test_definitions_and_outputs_are_data(run: Run) -> None:
    task = po.Task(name="label", prompt="x {{ item }}", for_each="seed.rows", output=Label)
    pipeline = po.Pipeline(name="p", tasks=[task])
    for value in (task, pipeline, po.Seed(name="s", data={"a": 1}), run.view, run.usage):
        assert pickle.loads(pickle.dumps(value)) == value == copy.deepcopy(value)
    assert pickle.loads(pickle.dumps(run.outputs))._run.id == run.id


@pytest.mark.parametrize("kind", list(errors._tree(errors.PoError)), ids=lambda kind: kind.__name__)
def test_errors_cross_processes(kind: type[errors.PoError]) -> None:
    """A pool of processes pickles what its workers raise."""
    error = kind("it broke", hint="mend it", details={"task": "t"})
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.message, again.hint, again.details, str(again)) == (
        "it broke",
        "mend it",
        {"task": "t"},
        str(error),
    )
