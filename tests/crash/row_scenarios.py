"""Sweeps over what a task does with rows: each operator, cascades by confidence, files.

The result is that of a run that nobody killed, and no answer is paid for twice.
"""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from po_jupyter.engine.replay.history import read_history
from po_jupyter.store.protocol import Ref
from tests.crash.crash_scenarios import KeyedCalls, Logged, over_rows
from tests.support.engine import RUN, Bench
from tests.support.pdf import pdf
from tests.support.sound import wav

COMMITS = "store.commit.after"
ROWS = [
    {"n": 1, "city": "A", "text": "one and one", "tags": ["x", "y"]},
    {"n": 2, "city": "B", "text": "two", "tags": []},
    {"n": 3, "city": "A", "text": "One  and ONE", "tags": ["x"]},
]
LABEL = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}


class RowTasks(KeyedCalls):
    """What the tasks made of the rows is what they make of them when nobody dies."""

    rows: ClassVar[list[dict[str, Any]]] = ROWS
    calls: ClassVar[int]

    def create(self, bench: Bench) -> None:
        bench.create(self.tasks, {"rows": self.rows})

    def setup(self, at: Path) -> None:
        bench = self.bench(at)
        self.create(bench)
        bench.store.close()
        with tempfile.TemporaryDirectory() as elsewhere:
            whole = Bench(Path(elsewhere))
            whole.fake = Logged(Path(elsewhere) / "asked")
            self.create(whole)
            assert asyncio.run(whole.go()) == "done"
            assert len(self.answered(whole)) == self.calls
            (at / "expected.json").write_text(json.dumps(results(whole)))

    def check_end(self, bench: Bench) -> None:
        super().check_end(bench)
        assert json.loads(json.dumps(results(bench))) == json.loads((bench.tmp / "expected.json").read_text())
        answered = self.answered(bench)
        assert len(answered) == len(set(answered)) == self.calls
        usage = read_history(bench.store, RUN).state.usage
        assert usage.calls - usage.unknown == self.calls, usage


def results(bench: Bench) -> dict[str, Any]:
    """Outputs of tasks, and outcomes of rows, but for times."""

    def payload(ref: Any) -> Any:
        return None if ref is None else bench.store.payload(RUN, Ref(*ref))

    state = read_history(bench.store, RUN).state
    outcomes = [
        [
            item["task"],
            item["index"],
            payload(item["output"]),
            {key: item.get(key) for key in ("row", "key", "ok")},
        ]
        for record in bench.records()
        for item in record["items"]
    ]
    return {
        "outputs": {name: payload(task.output) for name, task in state.tasks.items()},
        "outcomes": sorted(outcomes, key=lambda outcome: outcome[:2]),
    }


class Selections(RowTasks):
    """Operators that ask nobody, one behind the other, and then a map over the rows that they left."""

    name = "selections"
    calls = 3
    tasks: ClassVar[list[dict[str, Any]]] = [
        over_rows("some", where="{{ item.n < 9 }}"),
        {"name": "first", "for_each": "{{ tasks.some }}", "distinct": "{{ item.text }}"},
        {"name": "tags", "for_each": "{{ tasks.some }}", "unnest": "tags"},
        {"name": "cities", "for_each": "{{ tasks.some }}", "group_by": "{{ item.city }}"},
        {"name": "pairs", "for_each": "{{ tasks.first }}",
         "join": {"to": "{{ tasks.some }}", "key": "{{ item.city }}"}},
        {"name": "best", "for_each": "{{ tasks.tags }}", "top_k": {"k": 2, "by": "{{ item.n }}"}},
        {"name": "say", "for_each": "{{ tasks.tags }}", "prompt": "{{ item.n }} {{ item.tags }}",
         "max_concurrency": 1},
    ]  # fmt: skip


class SelectionsBriefly(Selections):
    """The same at fewer points."""

    name = "selections-briefly"
    only = COMMITS
    tasks: ClassVar[list[dict[str, Any]]] = [Selections.tasks[n] for n in (0, 1, 2, 6)]


class Answers(RowTasks):
    """Operators that ask a model: by its answer, by a score of it, by vectors."""

    name = "answers"
    calls = 9
    tasks: ClassVar[list[dict[str, Any]]] = [
        over_rows("some", prompt="some {{ item.n }}", where="{{ item.n != 2 }}"),
        over_rows("best", prompt="best {{ item.n }}", top_k={"k": 2, "by": "{{ item.n if output else 0 }}"}),
        over_rows("first", embed="{{ item.text | lower }}", distinct={"similarity": 0.9}),
    ]


class AnswersBriefly(Answers):
    """The same at fewer points."""

    name = "answers-briefly"
    only = COMMITS
    calls = 4
    rows: ClassVar[list[dict[str, Any]]] = ROWS[::2]
    tasks: ClassVar[list[dict[str, Any]]] = [
        {**Answers.tasks[0], "where": "{{ item.n == 3 }}"},
        Answers.tasks[2],
    ]


class SureLabels(RowTasks):
    """A cascade that goes by the probability of a label, and a service tier."""

    name = "sure-labels"
    calls = 6
    tasks: ClassVar[list[dict[str, Any]]] = [
        over_rows(
            "label", prompt="label {{ item.n }}", output=LABEL, confidence="logprobs",
            llm=[
                {"model": "fake:echo?confidence=0.6", "service_tier": "flex"},
                {"model": "fake:echo?confidence=0.95", "when": "{{ output.confidence < 0.8 }}"},
            ],
        ),
    ]  # fmt: skip


class SureLabelsBriefly(SureLabels):
    """The same at fewer points."""

    name = "sure-labels-briefly"
    only = COMMITS
    calls = 2
    rows: ClassVar[list[dict[str, Any]]] = ROWS[:1]


class LearnedThreshold(RowTasks):
    """A cascade that learns its threshold: the same one, and both answers of a row of the sample are paid for once."""

    name = "learned-threshold"
    only = COMMITS
    calls = 6
    tasks: ClassVar[list[dict[str, Any]]] = [
        over_rows(
            "label", prompt="label {{ item.n }}", output=LABEL, confidence="logprobs",
            llm=[
                {"model": "fake:echo?confidence=0.6"},
                {"model": "fake:echo?confidence=0.95", "target": 0.25},
            ],
        ),
    ]  # fmt: skip

    def check_end(self, bench: Bench) -> None:
        super().check_end(bench)
        (learned,) = [event["data"] for event in bench.events("cascade.learned")]
        assert (learned["threshold"], learned["sampled"], learned["agreeing"]) == (0.6, 3, 3)


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


class FileRows(RowTasks):
    """A PDF file and a sound, each shown with its row."""

    name = "files"
    calls = 2
    rows: ClassVar[list[dict[str, Any]]] = [
        {"n": 1, "file": _data_url("application/pdf", pdf(2))},
        {"n": 2, "file": _data_url("audio/wav", wav(0.01))},
    ]
    tasks: ClassVar[list[dict[str, Any]]] = [
        over_rows("read", prompt="read {{ item.n }}", files=["{{ item.file }}"])
    ]


class FileRowsBriefly(FileRows):
    """The same at fewer points."""

    name = "files-briefly"
    only = COMMITS
