"""Operators in a run: what they ask, what they make, and what a resume does."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.llm.chat import ChatRequest
from tests.support.engine import Bench

ROWS = [{"id": n, "city": "AB"[n % 2], "tags": ["x", "y"][: n % 3], "text": f"t{n}"} for n in range(6)]


def answers(bench: Bench, reply: Any) -> None:
    """Have every call answered by `reply(prompt)`, which may raise."""
    chat = bench.fake.chat

    async def answer(request: ChatRequest, **more: Any) -> Any:
        response = await chat(request, **more)
        text = reply(request.messages[-1].content)
        return replace(response, text=text if isinstance(text, str) else json.dumps(text))

    bench.fake.chat = answer  # type: ignore[method-assign]


def task(**fields: Any) -> dict[str, Any]:
    return {"name": "t", "for_each": "{{ seed.rows }}", "max_concurrency": 1, **fields}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_three_groups_are_three_calls(bench: Bench) -> None:
    """Issue 13, done when 1."""
    rows = [{"city": "ABC"[n % 3], "text": f"t{n}"} for n in range(30)]
    prompt = "{{ item.key }}: {{ item.rows | map(attribute='text') | join(' ') }}"
    bench.create([task(group_by="{{ item.city }}", prompt=prompt)], {"rows": rows})
    assert await bench.go() == "done"
    assert len(bench.fake.prompts) == 3
    assert bench.fake.prompts[0] == "A: " + " ".join(f"t{n}" for n in range(0, 30, 3))
    made = list(bench.output("t"))
    assert [(row["key"], row["size"], row["output"][:7]) for row in made] == [
        ("A", 10, "echo: A"), ("B", 10, "echo: B"), ("C", 10, "echo: C"),
    ]  # fmt: skip


async def test_a_row_keeps_its_number_through_every_operator(bench: Bench) -> None:
    bench.create(
        [
            task(name="keep", where="{{ item.city == 'B' }}"),
            {"name": "label", "for_each": "{{ tasks.keep }}", "prompt": "{{ item.text }}"},
            {"name": "each", "for_each": "{{ tasks.keep }}", "unnest": "tags"},
            {
                "name": "by",
                "for_each": "{{ tasks.each }}",
                "group_by": "{{ item.tags }}",
                "prompt": "{{ item.key }}",
            },
        ],
        {"rows": ROWS},
    )
    assert await bench.go() == "done"
    assert bench.output("keep").origin == ("rows", [1, 3, 5])
    labelled = [item for record in bench.records() for item in record["items"] if item["task"] == "label"]
    assert [(item["index"], item["row"]) for item in labelled] == [(0, 1), (1, 3), (2, 5)]
    assert bench.output("each").origin == ("rows", [1, 5, 5])
    stored = bench.store.payload(bench.run, bench.state.tasks["by"].output)
    assert (stored["of"], stored["places"]) == ("rows", [[1, 5], [5]])


async def test_the_view_says_how_many_rows_are_left(bench: Bench) -> None:
    """All it said was that it had looked at all rows."""
    bench.create(
        [
            task(name="keep", where="{{ item.city == 'B' }}"),
            task(name="none", where="{{ false }}"),
            task(name="asked", where=True, prompt="{{ item.text }}"),
            task(name="best", top_k={"k": 2, "by": "{{ item.id }}"}),
            task(name="tags", unnest="tags"),
            task(name="by", group_by="{{ item.city }}", prompt="{{ item.key }}"),
        ],
        {"rows": ROWS},
    )
    answers(
        bench,
        lambda prompt: (
            {"answer": True} if prompt in ("t1", "t2") else {"answer": False} if prompt[0] == "t" else prompt
        ),
    )
    assert await bench.go() == "done"
    items = {name: task.items for name, task in bench.state.tasks.items() if task.items is not None}
    assert {name: (item.kept, item.made, item.of) for name, item in items.items()} == {
        "keep": (3, None, 6), "none": (0, None, 6), "asked": (2, None, 6), "best": (2, None, 6),
        "tags": (None, 6, 6), "by": (None, 2, 6),
    }  # fmt: skip


async def test_a_prompt_says_which_rows_stay(bench: Bench) -> None:
    bench.create([task(where=True, prompt="{{ item.text }}")], {"rows": ROWS})
    answers(bench, lambda prompt: {"answer": prompt in ("t1", "t4")})
    assert await bench.go() == "done"
    assert [row["id"] for row in bench.output("t")] == [1, 4]
    assert len(bench.fake.prompts) == 6


async def test_the_pairs_of_a_join_that_survive_are_asked_about(bench: Bench) -> None:
    join = {"to": "{{ seed.others }}", "key": "{{ item.city }}", "where": "{{ item.left.id != item.right.id }}"}
    prompt = "{{ item.left.text }} {{ item.right.text }}"
    bench.create([task(join=join, prompt=prompt)], {"rows": ROWS, "others": ROWS[:3]})
    answers(bench, lambda prompt: {"answer": prompt == "t3 t1"})
    assert await bench.go() == "done"
    assert bench.fake.prompts == ["t0 t2", "t2 t0", "t3 t1", "t4 t0", "t4 t2", "t5 t1"]
    stored = bench.store.payload(bench.run, bench.state.tasks["t"].output)
    assert (stored["places"], stored["columns"]) == ([3], {"right_row": [1]})


async def test_the_best_by_score_and_by_pairs(bench: Bench) -> None:
    bench.create(
        [
            task(name="score", top_k=2, prompt="{{ item.text }}"),
            task(name="pairs", top_k={"k": 2, "pairs": True}, prompt="{{ item.left.id }} {{ item.right.id }}"),
            task(name="value", top_k={"k": 2, "by": "{{ -item.id }}"}),
        ],
        {"rows": ROWS},
    )

    def reply(prompt: str) -> Any:
        if prompt.startswith("t"):
            return {"score": int(prompt[1:]) % 4}
        left, right = map(int, prompt.split())
        return {"better": "right" if right > left else "left"}

    answers(bench, reply)
    assert await bench.go() == "done"
    assert [row["id"] for row in bench.output("score")] == [3, 2]
    assert [row["id"] for row in bench.output("pairs")] == [5, 4]
    assert [row["id"] for row in bench.output("value")] == [0, 1]
    assert len(bench.fake.prompts) <= 6 + (6 - 1 + 3)


async def test_a_large_group_is_asked_about_in_steps_by_its_own_prompt(bench: Bench) -> None:
    prompt = "sum {{ item.rows | join(' ') }}"
    group = {"key": "{{ 1 }}", "tokens": 60, "combine": "add {{ item.rows | join(' ') }}"}
    bench.create([task(group_by=group, prompt=prompt)], {"rows": [11 * n for n in range(1, 100)]})
    answers(bench, lambda prompt: str(sum(map(int, prompt.split()[1:]))))
    assert await bench.go() == "done"
    (row,) = bench.output("t")
    assert (row["ok"], row["output"], row["size"]) == (True, str(11 * 99 * 100 // 2), 99)
    kinds = Counter(prompt.split()[0] for prompt in bench.fake.prompts)
    assert kinds["sum"] > 1 and kinds["add"] >= 1
    assert bench.state.tasks["t"].items.total == len(bench.fake.prompts)


async def test_rows_that_failed_are_asked_again_and_what_follows_from_them(bench: Bench) -> None:
    """A step that is asked again has another answer, so what was made of the first one is asked about again too."""
    group = {"key": "{{ 1 }}", "tokens": 50, "combine": "add {{ item.rows | join(' ') }}"}
    fields = {"group_by": group, "prompt": "sum {{ item.rows | join(' ') }}", "retry": {"max_attempts": 1}}
    bench.create([task(**fields, failure_threshold=1)], {"rows": [11 * n for n in range(1, 60)]})
    broken = True

    def reply(prompt: str) -> str:
        if broken and prompt.startswith("sum 11 "):
            raise ValueError("not now")
        return str(sum(map(int, prompt.split()[1:])))

    answers(bench, reply)
    assert await bench.go() == "done"
    (row,) = bench.output("t")
    assert row["ok"] is False and "not now" in row["error"]["message"]
    first = Counter(bench.fake.prompts)
    broken = False
    bench.resume("t")
    assert await bench.go() == "done"
    assert [row["output"] for row in bench.output("t")] == [str(11 * 59 * 60 // 2)]
    again = {prompt for prompt, n in (Counter(bench.fake.prompts) - first).items() if prompt in first}
    assert {prompt[:7] for prompt in again} == {"sum 11 "}, "of what was asked before only the one that failed"


async def test_an_outcome_of_another_question_does_not_count(bench: Bench) -> None:
    """A person asks for one comparison again; it comes out otherwise, and so do the rounds after it."""
    prompt = "{{ item.left }} {{ item.right }}"
    bench.create([task(top_k={"k": 1, "pairs": True}, prompt=prompt)], {"rows": [1, 2, 3, 4]})
    odd: list[str] = []

    def reply(prompt: str) -> Any:
        left, right = map(int, prompt.split())
        return {"better": "left" if (left > right) != (prompt in odd) else "right"}

    answers(bench, reply)
    assert await bench.go() == "done"
    assert (list(bench.output("t")), bench.fake.prompts) == ([4], ["1 2", "3 4", "2 4"])
    odd.append("3 4")
    bench.resume("t", rows={"t": {"rows": "1", "done": 1, "failed": 0}})
    assert await bench.go() == "done"
    assert bench.fake.prompts[3:] == ["3 4", "2 3"]
    assert list(bench.output("t")) == [3]


async def test_a_later_run_takes_the_answers_of_an_earlier_one(bench: Bench) -> None:
    tasks = [task(top_k={"k": 2, "pairs": True}, prompt="{{ item.left }} {{ item.right }}", cache=True)]
    answers(bench, lambda prompt: {"better": "left"})
    bench.create(tasks, {"rows": [1, 2, 3, 4, 5]})
    assert await bench.go() == "done"
    asked = len(bench.fake.prompts)
    bench.run = "0193f00000000000abcd01"
    bench.create(tasks, {"rows": [1, 2, 3, 4, 5]})
    assert await bench.go() == "done"
    assert len(bench.fake.prompts) == asked
    assert bench.state.tasks["t"].items.reused == bench.state.tasks["t"].items.total


async def test_the_limit_is_one_of_the_rows_of_the_list(bench: Bench) -> None:
    bench.create(
        [
            task(name="by", group_by="{{ item.city }}", prompt="{{ item.rows | length }}"),
            task(where="{{ true }}"),
        ],
        {"rows": ROWS},
        options={"limit": 3},
    )
    assert await bench.go() == "done"
    assert bench.fake.prompts == ["2", "1"]
    assert len(bench.output("t")) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"where": "{{ item.id > 0 }}"}, {"distinct": True}, {"unnest": "tags"}, {"group_by": "{{ item }}"},
        {"join": {"to": "{{ seed.rows }}"}}, {"top_k": {"k": 3, "by": "{{ item.id }}"}},
        {"where": True, "prompt": "x"}, {"group_by": "{{ item }}", "prompt": "x"},
        {"join": {"to": "{{ seed.rows }}"}, "prompt": "x"}, {"top_k": 3, "prompt": "x"},
        {"top_k": {"k": 3, "pairs": True}, "prompt": "x"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("rows", [[], [{"id": 1, "tags": ["a"]}]])
async def test_an_empty_list_and_one_row_are_lists(bench: Bench, fields: Any, rows: list[Any]) -> None:
    bench.create(
        [task(**fields), {"name": "next", "for_each": "{{ tasks.t }}", "where": "{{ true }}"}], {"rows": rows}
    )
    assert await bench.go() == "done", bench.state.error
    assert len(bench.output("next")) == len(bench.output("t")) <= len(rows)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("{{ range(10 ** 12) | list | length }}", "Range too big"),
        ("{{ 'a' * 10 ** 12 }}", "limit"),
        ("{{ item.__class__.__mro__ }}", "__class__"),
        ("{{ item.text.format.__globals__ }}", "__globals__"),
        ("{{ cycler.__init__ }}", "__init__"),
        ("{{ item.missing }}", "missing"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
@pytest.mark.parametrize("operator", ["where", "distinct", "group_by", "unnest"])
async def test_expressions_stay_in_the_sandbox(bench: Bench, operator: str, expression: str, said: str) -> None:
    bench.create([task(**{operator: expression})], {"rows": ROWS})
    start = time.monotonic()
    assert await bench.go() == "failed"
    assert said in bench.state.error["message"]
    assert time.monotonic() - start < 5


async def test_expressions_that_are_slow_end_with_the_timeout(bench: Bench) -> None:
    slow = "{{ range(20000) | sum > item }}"
    bench.create([task(where=slow, timeout=0.3)], {"rows": list(range(100_000))})
    start = time.monotonic()
    assert await bench.go() == "failed"
    assert "longer than 0.3 s" in bench.state.error["message"]
    assert time.monotonic() - start < 10


async def test_a_hundred_thousand_rows_take_seconds(bench: Bench) -> None:
    rows = [{"id": n, "city": n % 100, "tags": [n]} for n in range(100_000)]
    bench.create(
        [
            task(name="keep", where="{{ item.id % 2 }}"),
            {"name": "one", "for_each": "{{ tasks.keep }}", "distinct": "{{ item.city }}"},
            {"name": "each", "for_each": "{{ tasks.keep }}", "unnest": "tags"},
            {"name": "by", "for_each": "{{ tasks.each }}", "group_by": "{{ item.city }}"},
        ],
        {"rows": rows},
    )
    start = time.monotonic()
    assert await bench.go() == "done"
    assert time.monotonic() - start < 60, "on a machine with much to do; alone it takes about ten"
    assert [len(bench.output(name)) for name in ("keep", "one", "each", "by")] == [50_000, 50, 50_000, 50]


async def test_rows_are_distinct_by_their_vectors(bench: Bench) -> None:
    texts = ["the cat sat", "sat the cat", "a dog barks", "", "THE CAT SAT"]
    rows = [{"text": text} for text in texts]
    bench.create(
        [task(embed="{{ item.text }}", distinct={"similarity": 0.95}, retry={"max_attempts": 1})],
        {"rows": rows},
    )
    assert await bench.go() == "done"
    assert [row["text"] for row in bench.output("t")] == ["the cat sat", "a dog barks"]
    stored = bench.store.payload(bench.run, bench.state.tasks["t"].output)
    assert (stored["places"], stored["columns"]) == ([0, 2], {"count": [3, 1]})
    assert len(bench.fake.prompts) == 4, "the row without a text was not asked about"
    bench.resume("t")
    assert await bench.go() == "done"
    assert len(bench.fake.prompts) == 4
