"""What the rows of a map have in common is marked in their requests (E7)."""

from __future__ import annotations

import pytest

from po_jupyter.engine.maps.common_prefix import CommonPrefix
from po_jupyter.llm.chat import Message
from tests.support.engine import Bench


def row(text: str, system: str = "Be short.") -> tuple[Message, ...]:
    return Message("system", system), Message("user", text)


def test_the_common_part_ends_at_a_word_and_a_whole_turn_counts_whole() -> None:
    common = CommonPrefix(
        [row("Label this: bug one"), row("Label this: bug two"), row("Label this: but three")]
    )
    assert [m.shared for m in common.mark(row("Label this: praise"))] == [9, 12]
    assert [m.shared for m in common.mark(row("Something else"))] == [0, 0], "a row that begins otherwise"
    assert [m.shared for m in common.mark(row("x", system="Be long."))] == [0, 0]
    differing = CommonPrefix([row("Label this: a", "row 1"), row("Label this: b", "row 2")])
    assert [m.shared for m in differing.mark(row("Label this: c", "row 3"))] == [4, 0]
    assert CommonPrefix([]).mark(row("a")) == row("a")


@pytest.mark.parametrize(("rows", "marked"), [(8, True), (3, False), (1, False)])
async def test_rows_of_a_map_are_marked_where_there_are_enough_of_them(
    bench: Bench, rows: int, marked: bool
) -> None:
    task = {"name": "m", "prompt": "Label: {{ item }}", "for_each": f"range({rows})", "max_concurrency": 2}
    bench.create([task])
    assert await bench.go() == "done"
    assert [r.messages[0].shared for r in bench.fake.requests] == [7 if marked else 0] * rows
