"""A map as it is loaded: of variants each row once for each, and a limit of its list."""

from __future__ import annotations

from pathlib import Path

from po_jupyter.engine.maps.map_loading import load_map
from tests.support.engine import Bench


async def test_variants_have_a_row_each_of_each_row(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    prompts = {"a": {"prompt": "a {{ item }}"}, "b": {"prompt": "b {{ item }} {{ index }}"}}
    task = {"name": "m", "for_each": "{{ seed.rows }}", "variants": prompts}
    bench.create([task], {"rows": [7, 8, 9]}, options={"limit": 2})
    async with bench.worker() as session:
        state = await load_map(session.maps, session.inputs.pipeline.task("m"), 1)
        assert state.total == 4
        rows = [state.row(index) for index in range(4)]
        assert [row.messages and row.messages[-1].content for row in rows] == ["a 7", "b 7 0", "a 8", "b 8 1"]
        assert [row.index for row in rows] == [0, 1, 2, 3]
        assert [state.place_of(index) for index in range(4)] == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert len({state.code.key(row) for row in rows}) == 4
