"""One line over a table, with a real orchestrator, real workers and a real HTTP server for a model."""

from __future__ import annotations

import _thread
import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import po_jupyter as po
from po_jupyter.client.default import default_client
from po_jupyter.client.tables import operations, questions
from po_jupyter.errors import PoError
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.runs import run_view
from tests.support.start_mode import forget_environment

pytestmark = pytest.mark.acceptance

TEXTS = ["the export fails", "I love it", "how do I log in?", "it fails again"]


class Ticket(BaseModel):
    label: str
    length: int


def answer(body: dict[str, Any], _: int) -> Reply | str:
    """What a model would say of a text, by the fields of the schema that it is to fit."""
    text = body["messages"][-1]["content"].rpartition("\n")[2].removeprefix("Q: ")
    if text == "slow 2":
        _thread.interrupt_main()
    if "unanswerable" in text:
        return Reply(status=400, body=b'{"error": {"message": "this cannot be answered"}}')
    schema = json.dumps(body.get("response_format", {}))
    label = "bug" if "fail" in text else "question" if "?" in text else "praise"
    said: dict[str, Any] = {}
    if '"keep"' in schema:
        said["keep"] = label == "bug"
    if '"label"' in schema:
        said["label"] = label
    if '"length"' in schema:
        said["length"] = len(text)
    return json.dumps(said) if said else f"echo: {text}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    home = tmp_path_factory.mktemp("tables")
    with ModelServer(answer) as server, pytest.MonkeyPatch.context() as patch:
        forget_environment(patch, "PO_", "JPY_", "JUPYTERHUB_")
        for name in [name for name in os.environ if name.endswith("_API_KEY")]:
            patch.delenv(name)
        patch.setenv("PO_DATA_DIR", str(home / "data"))
        patch.setenv("PO_DEFAULT_MODEL", "openai:gpt-4o-mini")
        patch.setenv("OPENAI_BASE_URL", server.base_url)
        patch.setenv("OPENAI_API_KEY", server.key)
        yield server
        default_client().close()
        subprocess.run([sys.executable, "-m", "po_jupyter", "stop"], check=True, capture_output=True)


@pytest.fixture
def calls(model: ModelServer) -> Any:
    """How many requests there were since the test began."""
    before = len(model.requests)
    return lambda: len(model.requests) - before


@pytest.mark.parametrize(
    "index", [["a", "b", "c", "d"], ["x", "x", "y", "x"], [1.5, np.nan, np.nan, 0], [40, 10, 30, 20]]
)
def test_a_frame_comes_back_on_its_own_index(model: ModelServer, index: list[Any]) -> None:
    """Issue 13: string, duplicate and NaN labels."""
    frame = pd.DataFrame({"text": TEXTS, "n": range(4)}, index=index)
    result = po.map(frame, "Q: {{ item.text }}", output=Ticket)
    assert result.index.equals(frame.index)
    assert list(result.columns) == ["text", "n", "label", "length", "error"]
    assert list(result["label"]) == ["bug", "praise", "question", "bug"]
    assert list(result["length"]) == [len(text) for text in TEXTS]
    assert result["error"].isna().all()
    run = default_client().run(result.attrs["po_run"])
    assert (run.state, run.view.pipeline) == ("done", "map")


def test_the_same_again_is_not_paid_again(model: ModelServer, calls: Any) -> None:
    texts = [f"again {i}" for i in range(6)]
    po.map(texts[:4], "Q: {{ item }}", max_concurrency=2)
    assert calls() == 4
    result = po.map(texts, "Q: {{ item }}", max_concurrency=2)
    assert calls() == 6  # the four that were answered are free
    assert list(result["output"]) == [f"echo: {text}" for text in texts]
    po.map(texts, "Q: {{ item }}", fresh=True)
    assert calls() == 12


def test_the_same_call_in_several_threads_is_paid_once(model: ModelServer, calls: Any) -> None:
    texts = [f"thread {i}" for i in range(6)]
    with ThreadPoolExecutor(3) as pool:
        tables = list(pool.map(lambda _: po.map(texts, "Q: {{ item }}", max_concurrency=1), range(3)))
    assert [list(table["output"]) for table in tables] == [[f"echo: {text}" for text in texts]] * 3
    assert calls() == 6


def test_the_same_call_in_two_kernels_at_the_same_moment_is_paid_once(
    model: ModelServer, calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked, and found no run that goes on, before one of them starts it."""
    both_looked, look = threading.Barrier(2), operations._going_on

    async def going_on(*question: Any) -> Any:
        found = await look(*question)
        await asyncio.to_thread(both_looked.wait, 30)
        return found

    monkeypatch.setattr(operations, "_going_on", going_on)
    monkeypatch.setattr(operations, "_starting", nullcontext())
    texts = [f"kernel {i}" for i in range(4)]
    with closing(po.connect()) as one, closing(po.connect()) as other, ThreadPoolExecutor(2) as pool:
        for n in (4, 4):  # a second time both start a new one, in which nothing is asked
            jobs = [pool.submit(po.map, texts, "Q: {{ item }}", client=client) for client in (one, other)]
            first, second = (job.result() for job in jobs)
            assert first.attrs["po_run"] == second.attrs["po_run"] and list(first["output"]) == list(
                second["output"]
            )
            assert calls() == n


def test_a_limit_asks_the_first_rows_only(model: ModelServer, calls: Any) -> None:
    result = po.map(pl.DataFrame({"t": [f"limited {i}" for i in range(5)]}), "Q: {{ item.t }}", limit=2)
    assert calls() == 2 and isinstance(result, pl.DataFrame)
    assert result["output"].to_list() == ["echo: limited 0", "echo: limited 1"]


def test_failed_rows_are_rows_with_an_error_and_are_asked_again(model: ModelServer, calls: Any) -> None:
    texts = ["good one", "unanswerable", "good two"]
    result = po.map(pd.Series(texts, name="text"), "Q: {{ item }}")
    assert list(result["output"].isna()) == [False, True, False]
    assert "cannot be answered" in result["error"][1]
    before = calls()
    po.map(pd.Series(texts, name="text"), "Q: {{ item }}")
    assert calls() == before + 1
    with pytest.raises(PoError, match="cannot be answered") as caught:
        po.map(["unanswerable, all of it"], "Q: {{ item }}")
    assert "the same call asks only for the rest" in str(caught.value)


def test_filter_keeps_rows_on_their_index(model: ModelServer, caplog: pytest.LogCaptureFixture) -> None:
    frame = pd.DataFrame({"text": TEXTS}, index=list("abcd"))
    kept = frame.po.filter("Q: {{ item.text }}")
    assert list(kept.index) == ["a", "d"] and list(kept.columns) == ["text"]
    assert po.filter(TEXTS, "Q: {{ item }}") == [TEXTS[0], TEXTS[3]]
    mixed = ["it fails", "unanswerable", "fine"]
    with pytest.raises(PoError, match=r"1 of 3 rows failed, the first one \(row 1\)"):
        po.filter(mixed, "Q: {{ item }}")
    assert po.filter(mixed, "Q: {{ item }}", errors="drop") == ["it fails"]
    assert "cannot be answered; they are left out" in caplog.text
    assert po.filter(mixed, "Q: {{ item }}", errors="keep") == ["it fails", "unanswerable"]


def test_filter_is_a_where(model: ModelServer, calls: Any) -> None:
    """Its run has the rows that stay, and says how many of how many; what was asked as a map is not asked again."""
    frame = pd.DataFrame({"text": TEXTS, "n": range(4)}, index=pd.Index([1.5, np.nan, np.nan, 0], name="key"))
    kept = po.filter(frame, "Is it broken? {{ item.text }}")
    run = default_client().run(kept.attrs["po_run"])
    assert run.frame("filter").index.equals(kept.index) and list(kept["n"]) == [0, 3]
    assert [row["ok"] for row in run.items("filter")] == [True] * 4
    asked = calls()
    assert list(po.filter(frame, "Is it broken? {{ item.text }}", where="{{ not output.keep }}")["n"]) == [1, 2]
    assert calls() == asked


def test_filter_by_an_expression_asks_nobody(model: ModelServer, calls: Any) -> None:
    frame = pd.DataFrame({"n": [5, 1, 7]}, index=["x", "x", None])
    assert frame.po.filter(where="{{ item.n > 3 }}").equals(frame.iloc[[0, 2]])
    assert frame.po.filter(where="{{ item.n > 3 }}", limit=2).equals(frame.iloc[[0]])
    assert pl.DataFrame({"n": [5, 1]}).po.filter(where="{{ item.n < 3 }}")["n"].to_list() == [1]
    assert po.filter([], where="{{ item > 3 }}") == [] and calls() == 0
    with pytest.raises(PoError, match="row 1"):
        po.filter([{"n": 1}, {}], where="{{ item.n > 3 }}")


def test_classify_and_extract(model: ModelServer) -> None:
    labelled = pl.Series("text", TEXTS).po.classify(["bug", "question", "praise"])
    assert labelled.columns == ["text", "label", "error"]
    assert labelled["label"].to_list() == ["bug", "praise", "question", "bug"]
    found = po.extract(pd.DataFrame({"text": TEXTS}).text, {"label": str, "length": int})
    assert list(found["label"]) == ["bug", "praise", "question", "bug"]


def test_an_empty_table_is_a_table(model: ModelServer, calls: Any) -> None:
    result = po.map(pd.DataFrame({"text": []}), "Q: {{ item.text }}", output=Ticket)
    assert list(result.columns) == ["text", "label", "length", "error"] and len(result) == 0
    assert po.filter([], "Q: {{ item }}") == [] and calls() == 0


def test_an_interrupt_leaves_the_run_and_the_same_call_finds_it(
    model: ModelServer, calls: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """P12: ■ ends the waiting. The same call waits for the same run, so nothing is asked twice."""
    texts = [f"slow {i}" for i in range(12)]
    model.latency = 0.2
    try:
        with pytest.raises(KeyboardInterrupt):
            po.map(texts, "Q: {{ item }}", max_concurrency=1)
        assert "the run goes on" in capsys.readouterr().out
        (going_on,) = default_client().runs(["running", "pending", "waiting"], "map")
        result = po.map(texts, "Q: {{ item }}", max_concurrency=1)
    finally:
        model.latency = 0.0
    assert result.attrs["po_run"] == going_on.id and calls() == 12


def test_the_same_call_finds_its_run_behind_any_number_of_others() -> None:
    """It looked at the 50 newest runs of its name."""
    pages = [
        [run_view(seed={"metadata": {"po_table": f"other {i}"}}) for i in range(60)],
        [run_view(forked_from={"run": "x"}, seed={"metadata": {"po_table": "mine"}})],
        [run_view(seed={"metadata": {"po_table": "mine"}}, name="this one")],
        [run_view(seed={"metadata": {"po_table": "mine"}}, name="an older one")],
    ]

    class Aio:
        asked = 0

        async def runs(self, *, cursor: str | None, **which: Any) -> Any:
            self.asked += 1
            assert which["pipeline"] == "map" and "done" not in which["states"]
            page = int(cursor or 0)
            return pages[page], str(page + 1) if page + 1 < len(pages) else None

    aio: Any = Aio()
    found = asyncio.run(operations._going_on(aio, "map", "mine"))
    assert found is not None and found.name == "this one" and aio.asked == 3
    assert asyncio.run(operations._going_on(aio, "map", "nobody's")) is None


def test_a_fork_that_asks_something_else_is_not_taken_for_the_same_call(model: ModelServer) -> None:
    """It has the seed of the run that it was made from, and with it what the call was marked with."""
    texts = [f"forked {i}" for i in range(6)]
    mine = default_client().run(po.map(texts, "Q: {{ item }}").attrs["po_run"])
    other = questions.map_question("map", "Other: {{ item }}", None, {"max_concurrency": 1})
    model.latency = 0.5
    try:
        fork = mine.fork("map", pipeline=other)
        again = po.map(texts, "Q: {{ item }}", wait=False)
    finally:
        model.latency = 0.0
    assert fork.state != "done" and again.id != fork.id
    assert [row["output"] for row in again.wait().items("map")] == [f"echo: {text}" for text in texts]
    fork.wait()


def test_a_run_can_be_had_at_once(model: ModelServer) -> None:
    run = po.map(["later"], "Q: {{ item }}", wait=False, name="mine")
    assert isinstance(run, po.Run) and run.view.pipeline == "mine"
    assert run.wait().state == "done"


def test_a_spent_budget_is_said_and_what_was_answered_is_kept(model: ModelServer, calls: Any) -> None:
    texts = [f"costly {i}" for i in range(30)]
    with pytest.raises(PoError, match="budget") as caught:
        po.map(texts, "Q: {{ item }}", max_tokens=20, max_concurrency=1, budget={"tokens": 150})
    assert "the same call asks only for the rest" in str(caught.value)
    answered = calls()
    assert 0 < answered < 30
    po.map(texts, "Q: {{ item }}", max_tokens=20, max_concurrency=1)
    assert calls() == 30


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: po.map({"a": 1}, "{{ item }}"), "not dict"),
        (lambda: po.map(["a"], "Label this"), "no `item`"),
        (lambda: po.map(["a"], "{{ item }}", modl="fake:echo"), "did you mean `model`"),
        (lambda: po.map(["a"], "{{ item }}", limit=0), "`limit`"),
        (lambda: po.filter(["a"], "{{ item }}", errors="ignore"), "`errors`"),
        (lambda: po.filter(["a"], where="{{ nothing > 3 }}"), "nothing"),
        (lambda: po.filter(["a"], "{{ item }}", where="{{ output.kept }}"), "kept"),
        (lambda: po.map([object()], "{{ item }}"), "JSON cannot"),
        (lambda: po.map(["a"], "{{ item", model="fake:echo"), "template"),
        (lambda: po.map(["a"], "{{ item }}", model="nonsense"), "model"),
        (lambda: po.map(["a"], "{{ item }}", name="No Name"), "name"),
    ],
)
def test_wrong_input_is_one_error_and_starts_nothing(
    model: ModelServer, calls: Any, wrong: Any, says: str
) -> None:
    before = len(default_client().runs(limit=200))
    with pytest.raises(PoError, match=says) as caught:
        wrong()
    assert isinstance(caught.value, PoError) and "Traceback" not in str(caught.value)
    assert calls() == 0 and len(default_client().runs(limit=200)) == before
