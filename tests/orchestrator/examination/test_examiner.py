"""C2: examinations are done by a child: what it says comes back as it was, and what takes too much is given up."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, InvalidPipeline, Unavailable
from po_jupyter.orchestrator.examination.child import CPU_SECONDS, MEMORY_BYTES, WALL_SECONDS
from po_jupyter.orchestrator.examination.examiner import Examiner
from po_jupyter.orchestrator.examination.operations import Examination, as_json, examine_here

pytestmark = pytest.mark.integration

GOOD = {"name": "p", "tasks": [{"name": "a", "prompt": "Hi {{ seed.text }}", "llm": "fake:echo"}]}
LOOPS = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"


@pytest.fixture
def examiner(tmp_path: Path) -> Iterator[Examiner]:
    examiner = Examiner(Settings(data_dir=tmp_path), small=0)
    yield examiner
    examiner.close()


def estimate(prompt: str, **task: Any) -> Examination:
    definition = {"name": "p", "tasks": [{"name": "a", "prompt": prompt, "llm": "fake:echo", **task}]}
    return {"what": "estimate", "definition": definition, "seed": {"name": "s", "data": {}}, "owner": "me"}


def child_of(examiner: Examiner) -> psutil.Process:
    assert examiner._child is not None
    return psutil.Process(examiner._child.pid)


@pytest.mark.parametrize(
    "examination",
    [
        {"what": "parse", "definition": GOOD},
        {"what": "parse", "definition": "tasks: [{name: a, prompt: é}]\n", "name": "p"},
        {
            "what": "check",
            "definition": GOOD,
            "data": {"text": "Hi"},
            "model": "fake:echo",
            "budget": {"tokens": 5},
        },
        {"what": "check", "definition": GOOD, "data": {"txt": "Hi"}},
        {"what": "check", "definition": {"name": "p", "tasks": [{"nme": "\ud800"}]}, "data": None},
        {"what": "parse", "definition": "tasks: [a\n"},
        estimate("Hi"),
    ],
)
def test_it_says_the_same_as_here(examiner: Examiner, tmp_path: Path, examination: Examination) -> None:
    """The value, or the error with its class, places and hint."""
    answers: list[Any] = []
    for examine in (examiner.examine, lambda e: examine_here(e, Settings(data_dir=tmp_path))):
        try:
            answers.append(as_json(examine(examination)))
        except InvalidInput as error:
            answers.append((type(error), error.to_json(), error.violations))
    assert answers[0] == answers[1]


def test_what_takes_too_much_memory_is_given_up(examiner: Examiner) -> None:
    with pytest.raises(InvalidInput, match="takes more than"):
        examiner.examine(estimate("x", output={"type": "string", "minLength": MEMORY_BYTES}))
    assert examiner.examine({"what": "parse", "definition": GOOD})["name"] == "p"


@pytest.mark.slow
def test_what_takes_too_long_is_given_up(examiner: Examiner) -> None:
    begun = time.monotonic()
    with pytest.raises(InvalidInput, match=f"takes more than {CPU_SECONDS} s"):
        examiner.examine(estimate(LOOPS))
    assert time.monotonic() - begun < WALL_SECONDS + 5


def test_a_child_that_died_is_started_again(examiner: Examiner) -> None:
    first = examiner.examine({"what": "parse", "definition": GOOD})
    child = child_of(examiner)
    child.kill()
    child.wait(5)
    assert examiner.examine({"what": "parse", "definition": GOOD}) == first


def test_a_child_that_is_not_needed_ends_and_is_started_again(tmp_path: Path) -> None:
    """It holds 37 MB, and most orchestrators examine nothing for hours."""
    examiner = Examiner(Settings(data_dir=tmp_path), small=0, rest=0.2)
    try:
        assert examiner._child is None  # nobody has asked
        first = examiner.examine({"what": "parse", "definition": GOOD})
        child = child_of(examiner)
        assert examiner._resting is not None
        examiner._resting.join(30)
        assert examiner._child is None and not child.is_running()
        assert examiner.examine({"what": "parse", "definition": GOOD}) == first
    finally:
        examiner.close()
    assert examiner._resting is not None
    assert examiner._resting.finished.is_set()


def test_the_end_of_the_orchestrator_ends_what_is_examined(examiner: Examiner) -> None:
    """And whoever waits for it is told so."""
    examiner.examine({"what": "parse", "definition": GOOD})
    errors: list[BaseException] = []

    def examine() -> None:
        try:
            examiner.examine(estimate(LOOPS))
        except Unavailable as error:
            errors.append(error)

    waiting = threading.Thread(target=examine)
    waiting.start()
    while not (forks := child_of(examiner).children()):
        time.sleep(0.02)
    examiner.close()
    waiting.join(60)
    assert len(errors) == 1
    psutil.wait_procs(forks, 5)
    assert not any(fork.is_running() and fork.status() != psutil.STATUS_ZOMBIE for fork in forks)
    with pytest.raises(Unavailable):
        examiner.examine({"what": "parse", "definition": GOOD})


def test_a_fork_that_is_killed_is_no_answer(examiner: Examiner) -> None:
    examiner.examine({"what": "parse", "definition": GOOD})

    def kill() -> None:
        while not (forks := child_of(examiner).children()):
            time.sleep(0.02)
        os.kill(forks[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(InvalidInput, match="cannot be read"):
        examiner.examine(estimate(LOOPS))
    killer.join()


def test_the_child_has_no_key(examiner: Examiner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    examiner.examine({"what": "parse", "definition": GOOD})
    assert "OPENAI_API_KEY" not in child_of(examiner).environ()


def test_errors_are_of_the_class_that_they_were(examiner: Examiner) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        examiner.examine({"what": "parse", "definition": "name: p\ntasks:\n  - {name: a, promt: x}\n"})
    assert caught.value.violations[0].line == 3


def test_a_small_definition_needs_no_child(tmp_path: Path) -> None:
    """Most are small, and are started more often than read; what is rendered is never small."""
    examiner = Examiner(Settings(data_dir=tmp_path))
    assert examiner.examine({"what": "check", "definition": GOOD, "data": {"text": "Hi"}}).name == "p"
    assert examiner._child is None
    many = {**GOOD, "tasks": [{"name": f"t{i}", "prompt": "x" * 20} for i in range(400)]}
    for examination in ({"what": "check", "definition": many, "data": None}, estimate("Hi")):
        examiner.examine(cast(Examination, examination))
        assert examiner._child is not None
        examiner.close()
        examiner = Examiner(Settings(data_dir=tmp_path))


@pytest.mark.parametrize("rows", [1, 5000])
def test_names_of_rows_are_checked_in_the_child_too(examiner: Examiner, rows: int) -> None:
    """Whatever the size: a field that rows have is no mistake, and one that they do not have is."""
    table = [{"text": "x" * 100, "of": {"author": "a"}, "tags": [{"name": "t"}]} for _ in range(rows)]
    data = {"rows": table, "tables": {"left": table}, "deep": deep(50)}

    def check(prompt: str) -> None:
        task = {"name": "a", "for_each": "{{ seed.tables.left }}", "prompt": prompt + " " * 9000}
        examiner.examine({"what": "check", "definition": {"name": "p", "tasks": [task]}, "data": data})

    check(
        "{{ item.text }} {{ item.of.author }} {% for t in item.tags %}{{ t.name }}{% endfor %} {{ seed.deep.a.a.a }}"
    )
    with pytest.raises(InvalidInput, match="txt"):
        check("{{ item.txt }}")


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "piece",
    ["[", "{", "{a,", "[[],", "- ", "? ", ": ", "{a: ", "a:\n ", "- a\n", "a: &b c\n", "'", '"\\x', "x\n"],
)
def test_a_short_text_is_read_here_only_if_it_cannot_take_long(tmp_path: Path, piece: str) -> None:
    """What is typed into a cell is checked without a fork; brackets, which take quadratic time, are few then."""
    examiner = Examiner(Settings(data_dir=tmp_path))
    few = piece * min(4000 // len(piece), 300 // max(1, sum(map(piece.count, "[{,"))))
    examination: Examination = {"what": "check", "definition": few, "name": "p", "data": None}
    assert examiner._is_quick(examination)
    assert not examiner._is_quick({**examination, "definition": piece * 4001})
    started = time.process_time()
    with pytest.raises(InvalidInput):
        examiner.examine(examination)
    assert time.process_time() - started < 1
    assert examiner._child is None
