"""Variants of a map: each row asked about once for each, with all that a map is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.maps.variant_rows import repeated_rows
from po_jupyter.engine.prompts.row_origins import OriginRows, RowOrigin
from po_jupyter.errors import ModelRefused
from tests.support.engine import Bench

ROWS = [{"text": f"t{n}", "gold": f"echo: short t{n}"} for n in range(3)]
VARIANTS = {"short": {"prompt": "short {{ item.text }}"}, "big": {"llm": {"temperature": 0.5}}}
NAMES = ("short", "big")


def task(**fields: Any) -> dict[str, Any]:
    return {
        "name": "m", "for_each": "{{ seed.rows }}", "prompt": "long {{ item.text }} {{ index }}", "max_concurrency": 1,
        "variants": VARIANTS, **fields,
    }  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def items(bench: Bench) -> list[Any]:
    return sorted((i for r in bench.records() for i in r["items"]), key=lambda item: item["index"])


async def test_each_row_is_asked_about_once_for_each_variant(bench: Bench) -> None:
    bench.create([task()], {"rows": ROWS})
    assert await bench.go() == "done"
    assert bench.fake.prompts == ["short t0", "long t0 0", "short t1", "long t1 1", "short t2", "long t2 2"]
    assert [request.temperature for request in bench.fake.requests] == [None, 0.5] * 3
    assert [(item["index"], item["row"]) for item in items(bench)] == [(n, n // 2) for n in range(6)]
    rows = list(bench.output("m"))
    assert [(r["index"], r["row"], r["variant"]) for r in rows] == [(n, n // 2, NAMES[n % 2]) for n in range(6)]
    assert rows[2]["output"] == "echo: short t1"


async def test_a_limit_is_one_of_rows(bench: Bench) -> None:
    bench.create([task()], {"rows": ROWS}, options={"limit": 2})
    assert await bench.go() == "done"
    assert len(bench.fake.prompts) == 4


async def test_rows_keep_their_number_in_the_seed(bench: Bench) -> None:
    rows = "{{ seed.rows | rejectattr('text', 'equalto', 't1') | list }}"
    later = {"name": "last", "for_each": "{{ tasks.m | selectattr('variant', 'equalto', 'big') | list }}",
             "prompt": "{{ item.row }} {{ item.output }}"}  # fmt: skip
    bench.create([task(for_each=rows), later], {"rows": ROWS})
    assert await bench.go() == "done"
    places = [(i["task"], i["row"]) for i in items(bench)]
    assert sorted(places) == [("last", 0), ("last", 2), ("m", 0), ("m", 0), ("m", 2), ("m", 2)]
    assert bench.fake.prompts[-2:] == ["0 echo: long t0 0", "1 echo: long t2 1"]


async def test_a_failed_row_is_asked_again_and_nothing_else(bench: Bench) -> None:
    bench.fake._replies = ["a", ModelRefused("no"), "c", "d", "e", "f", "again"]
    bench.create([task()], {"rows": ROWS})
    assert await bench.go() == "done"
    assert [item["ok"] for item in items(bench)] == [True, False, True, True, True, True]
    bench.resume("m")
    assert await bench.go() == "done"
    assert bench.fake.prompts[6:] == ["long t0 0"]
    assert bench.fake.requests[-1].temperature == 0.5
    assert [row["output"] for row in bench.output("m")] == ["a", "again", "c", "d", "e", "f"]


async def test_what_a_map_with_one_of_the_prompts_paid_for_is_taken_over(bench: Bench) -> None:
    alone = task(prompt="short {{ item.text }}")
    del alone["variants"]
    bench.create([alone], {"rows": ROWS})
    assert await bench.go() == "done"
    bench.run = "0193f00000000000abcdee"
    bench.create([task()], {"rows": ROWS})
    assert await bench.go() == "done"
    assert bench.fake.prompts[3:] == ["long t0 0", "long t1 1", "long t2 2"]
    assert [("reused" in item) for item in items(bench)] == [True, False] * 3


async def test_another_variant_is_all_that_is_paid_for(bench: Bench) -> None:
    bench.create([task()], {"rows": ROWS})
    assert await bench.go() == "done"
    bench.run = "0193f00000000000abcdee"
    bench.create([task(variants={"new": {"prompt": "new {{ item.text }}"}, **VARIANTS})], {"rows": ROWS})
    assert await bench.go() == "done"
    assert bench.fake.prompts[6:] == ["new t0", "new t1", "new t2"]


async def test_votes_and_scores_are_those_of_each_variant(bench: Bench) -> None:
    score = {"expect": "{{ seed.golds[index] }}", "metrics": ["exact"]}
    golds = [row["gold"] for row in ROWS]
    bench.create([task(votes={"n": 2}, score=score)], {"rows": ROWS, "golds": golds})
    assert await bench.go() == "done"
    assert len(bench.fake.prompts) == 12
    assert [item["scores"]["values"]["exact"] for item in items(bench)] == [1.0, 0.0] * 3
    assert [item["votes"]["asked"] for item in items(bench)] == [2] * 6


async def test_one_budget_is_for_all_variants(bench: Bench) -> None:
    bench.create([task()], {"rows": ROWS}, budget={"tokens": 400})
    await bench.go()
    assert len(bench.fake.prompts) < 6


def test_rows_are_read_when_they_are_used() -> None:
    rows = repeated_rows(OriginRows(["a", "b", "c"], RowOrigin("rows", [4, 5, 6])), 2, 2)
    assert isinstance(rows, OriginRows)
    assert list(rows) == ["a", "a", "b", "b"]
    assert (rows.origin.path, [rows.origin.position(n) for n in range(4)]) == ("rows", [4, 4, 5, 5])
    assert list(repeated_rows(["a"], 3, None)) == ["a", "a", "a"]
