"""The library of a run's tasks: each is made once, and what scores its answers too."""

from __future__ import annotations

from tests.support.engine import Bench


async def test_what_is_made_of_a_task_is_made_once(bench: Bench) -> None:
    source = "def inference(ctx):\n    return 1\n"
    score = [{"expect": "{{ 1 }}"}, {"metrics": "regex", "pattern": "1"}]
    bench.create([{"name": "a", "prompt": "x", "score": score}, {"name": "b", "source": source}])
    async with bench.worker() as session:
        a, b = session.log.pipeline.tasks
        assert session.tasks.prompt_task(a) is session.tasks.prompt_task(a)
        assert await session.tasks.python_task(b) is await session.tasks.python_task(b)
        assert await session.tasks.scoring(b) is None
        scoring = await session.tasks.scoring(a)
        assert scoring is not None and scoring is await session.tasks.scoring(a)
