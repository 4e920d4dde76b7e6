"""Examinations without forks: the same answers, and what takes too much is ended from outside."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, Unavailable
from po_jupyter.orchestrator.examination import child, watched
from po_jupyter.orchestrator.examination.examiner import Examiner
from po_jupyter.orchestrator.examination.operations import Examination, as_json, examine_here
from po_jupyter.platform import forking

pytestmark = pytest.mark.integration

GOOD: dict[str, Any] = {
    "name": "p",
    "tasks": [{"name": "a", "prompt": "Hi {{ seed.text }}", "llm": "fake:echo"}],
}
LOOPS = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"


@pytest.fixture
def examiner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Examiner]:
    monkeypatch.setattr(forking, "IS_FORK_SAFE", False)
    examiner = Examiner(Settings(data_dir=tmp_path), small=0)
    examiner.warm_up()
    yield examiner
    examiner.close()


def estimate(prompt: str) -> Examination:
    definition = {"name": "p", "tasks": [{"name": "a", "prompt": prompt, "llm": "fake:echo"}]}
    return {"what": "estimate", "definition": definition, "seed": {"name": "s", "data": {}}, "owner": "me"}


def test_it_says_the_same_as_here_and_gives_up_on_what_does_not_end(
    examiner: Examiner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examinations: list[Examination] = [
        {"what": "parse", "definition": GOOD},
        {"what": "check", "definition": {"name": "p", "tasks": [{"nme": "\ud800"}]}, "data": None},
    ]
    for examination in examinations:
        answers: list[Any] = []
        for examine in (examiner.examine, lambda e: examine_here(e, Settings(data_dir=tmp_path))):
            try:
                answers.append(json.loads(json.dumps(as_json(examine(examination)))))
            except InvalidInput as error:
                answers.append((type(error), error.to_json(), error.violations))
        assert answers[0] == answers[1]
    monkeypatch.setattr(child, "WALL_SECONDS", 2)
    with pytest.raises(InvalidInput, match="takes more than"):
        examiner.examine(estimate(LOOPS))
    monkeypatch.setattr(child, "WALL_SECONDS", 60)
    monkeypatch.setattr(child, "MEMORY_BYTES", 1)
    with pytest.raises(InvalidInput, match="takes more than"):
        examiner.examine(estimate(LOOPS))


def test_nothing_is_left_after_it_is_closed(examiner: Examiner) -> None:
    examinations = examiner._watched
    assert examinations is not None and examinations._ready is not None
    waiting = examinations._ready.pid
    errors: list[Exception] = []

    def examine() -> None:
        try:
            examiner.examine(estimate(LOOPS))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=examine)
    thread.start()
    while not examinations._at_work:
        pass
    (process,) = examinations._at_work
    assert process.pid == waiting, "the one that was ready"
    examiner.close()
    thread.join(20)
    assert [type(error) for error in errors] == [Unavailable]
    assert not psutil.pid_exists(process.pid) and examinations._ready is None
    with pytest.raises(Unavailable, match="is stopping"):
        examinations.ask(watched.request_of(estimate("x")))
