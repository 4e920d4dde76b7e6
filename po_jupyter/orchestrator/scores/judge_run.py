"""A run that judges recorded answers: a map for each judge, over what each of them is asked about each answer.

The questions are those that the judge of a task is asked while it runs, so what was judged then comes from the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from po_jupyter.engine.scores.judge import SCORE, answer_schema
from po_jupyter.model.pipeline.evals.scores import JUDGE, judge_llm, score_columns
from po_jupyter.model.pipeline.pipeline import LLM, Task
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.row_file_ref import RowFileRef
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import Head

INLINE = 2**20  # bytes of rows that stay in the definition of the run
_CONCURRENCY = 20


class JudgedRows:
    """The rows of the maps of a judge's run, by the name of the judge; `left_out`: why answers are not judged."""

    def __init__(self, names: Sequence[str]) -> None:
        """Without any."""
        self.rows: dict[str, list[JsonObject]] = {name: [] for name in names}
        self.left_out: dict[str, Counter[str]] = {name: Counter() for name in names}

    def add(self, answers: Sequence[Sequence[Any]], questions: Mapping[str, Sequence[JsonObject]]) -> None:
        """Take in questions about answers, `[index, item, output]` each."""
        for name, asked in questions.items():
            for (index, item, output), question in zip(answers, asked, strict=True):
                if "missing" in question:
                    self.left_out[name][question["missing"]] += 1
                else:
                    self.rows[name].append({"index": index, "item": item, "output": output, **question})

    def leave_out(self, reason: str) -> None:
        """Count a row without an answer."""
        for counts in self.left_out.values():
            counts[reason] += 1


def judge_pipeline(head: Head, task: Task, llm: JsonObject) -> JsonObject:
    """The pipeline: a task of the name of each judge. `llm` are the settings of the scored run's pipeline."""
    tasks = []
    for number, column in enumerate(c for c in score_columns(task.scorers) if c.metric == JUDGE):
        scorer = task.scorers[column.scorer]
        own = scorer.llm.model_dump(mode="json", exclude_defaults=True)
        tokens = judge_llm(scorer, LLM.model_validate(llm)).max_tokens
        if tokens != llm.get("max_tokens"):
            own["max_tokens"] = tokens
        tasks.append({
            "name": column.name, "needs": [], "for_each": f"{{{{ seed.{_list_name(number)} }}}}",
            "system": "{{ item.system }}", "prompt": "{{ item.question }}", "output": answer_schema(scorer),
            "llm": own, "refine": {"max_attempts": 1}, "timeout": task.timeout, "failure_threshold": 1.0,
            "max_concurrency": _CONCURRENCY,
            "score": {"name": column.name, "metrics": ["value"], "on": SCORE},
        })  # fmt: skip
    return {
        "name": f"score-{head['pipeline']}"[:100],
        "description": f"Judges the answers of task {task.name} of run {head['run']}.",
        "llm": llm,
        "tasks": tasks,
    }


def judge_seed(head: Head, task: str, judged: JudgedRows, files: RowFiles) -> JsonObject:
    """The seed: a list of rows for each judge, large ones in files. Blocks on the disk. Raises StoreUnusable."""
    lists = {_list_name(number): rows for number, rows in enumerate(judged.rows.values())}
    return {
        "name": judged_name(head, task),
        "data": {name: _kept(rows, head["owner"], files) for name, rows in lists.items()},
    }


def judged_name(head: Head, task: str) -> str:
    """What the seed is called: the answers that are judged."""
    return f"{task} of {short_id(head['run'])}"


def _list_name(number: int) -> str:
    return f"rows{number}" if number else "rows"


def _kept(rows: list[JsonObject], owner: str, files: RowFiles) -> object:
    lines = [json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n" for row in rows]
    if sum(map(len, lines)) <= INLINE:
        return rows
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    upload = files.receive(owner, digest.hexdigest())
    try:
        for line in lines:
            upload.write(line)
        upload.finish()
    finally:
        upload.abort()
    return RowFileRef(digest.hexdigest(), len(rows), tuple(rows[0])).to_json()
