"""A map as it is loaded: of variants each row once for each, and a limit of its list."""

from __future__ import annotations

from pathlib import Path

from tests.support.maps import map_state


async def test_variants_have_a_row_each_of_each_row(tmp_path: Path) -> None:
    prompts = {"a": {"prompt": "a {{ item }}"}, "b": {"prompt": "b {{ item }} {{ index }}"}}
    state = await map_state(tmp_path, [7, 8, 9], variants=prompts, options={"limit": 2})
    assert state.total == 4
    rows = [state.row(index) for index in range(4)]
    assert [row.messages and row.messages[-1].content for row in rows] == ["a 7", "b 7 0", "a 8", "b 8 1"]
    assert [row.index for row in rows] == [0, 1, 2, 3]
    assert [state.place_of(index) for index in range(4)] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({state.code.key(row) for row in rows}) == 4


async def test_a_map_without_variants_has_its_rows(tmp_path: Path) -> None:
    state = await map_state(tmp_path, [7, 8, 9], options={"limit": 2})
    assert (state.total, state.place_of(1), state.row(1).item) == (2, (1, 0), 8)
