"""A row that looked at files of its run is taken over only where these are the same (P12, R2.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Bench, new_run

BEFORE = "def integration(ctx):\n    ctx.io.write_artifact('words.txt', ctx.seed['words'])\n"
READS = "def inference(ctx):\n    return ctx.io.read_artifact('words.txt') + ' ' + ctx.item\n"
LISTS = "def inference(ctx):\n    return [len(ctx.io.artifacts()), ctx.io.read_artifact('words.txt')]\n"
KEEPS = (
    "def inference(ctx):\n"
    "    ctx.io.db().execute('create table if not exists t (x)')\n"
    "    ctx.io.db().execute('insert into t values (?)', [ctx.item])\n"
    "    return 1\n"
)


class Runs(Bench):
    runs = 0

    async def run_it(self, source: str, words: str) -> list[Any]:
        self.runs += 1
        self.run = f"0193f000000{self.runs:011x}"
        tasks = [
            {"name": "before", "source": BEFORE},
            {"name": "m", "source": source, "for_each": "{{ seed.rows }}"},
        ]
        data = {"rows": ["a", "b"], "words": words}
        new_run(self.store, {"name": "p", "tasks": tasks}, data, self.run)
        assert await self.go() == "done", self.state.error
        return [row["output"] for row in self.output("m")]

    @property
    def reused(self) -> int:
        items = self.state.tasks["m"].items
        assert items is not None
        return items.reused


@pytest.mark.parametrize("source", [READS, LISTS], ids=["read", "listed"])
async def test_another_artifact_is_other_work(tmp_path: Path, source: str) -> None:
    runs = Runs(tmp_path)
    kind = await runs.run_it(source, "be kind")
    assert await runs.run_it(source, "be kind") == kind
    assert runs.reused == 2
    strict = await runs.run_it(source, "be strict")
    assert runs.reused == 0
    assert strict != kind


async def test_what_a_row_wrote_into_the_runs_database_is_written_again(tmp_path: Path) -> None:
    """A copy of the outcome would be without it."""
    runs = Runs(tmp_path)
    await runs.run_it(KEEPS, "x")
    await runs.run_it(KEEPS, "x")
    assert runs.reused == 0
