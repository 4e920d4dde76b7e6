"""The code of a map's rows: first requests and keys, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from po_jupyter.engine.maps.row_code import RowCode
from tests.support.maps import map_state


async def code(tmp: Path, **fields: Any) -> RowCode:
    return (await map_state(tmp, [], **fields)).code


async def test_a_prompt_row_is_named_by_its_first_request(tmp_path: Path) -> None:
    rows = await code(tmp_path, prompt="Label: {{ item.text }}")
    one, two = rows.prepare(0, {"text": "x", "unseen": 1}), rows.prepare(7, {"text": "x", "unseen": 2})
    assert one.messages is not None and one.messages[0].content == "Label: x"
    assert rows.key(one) == rows.key(two)
    assert rows.key(rows.prepare(0, {"text": "y"})) != rows.key(one)


async def test_another_definition_is_another_key(tmp_path: Path) -> None:
    keys = set()
    for system in ("a", "b"):
        rows = await code(tmp_path, system=system, prompt="{{ item }}")
        keys.add(rows.key(rows.prepare(0, "x")))
    assert len(keys) == 2


async def test_a_prompt_that_cannot_be_rendered_is_left_to_its_stage(tmp_path: Path) -> None:
    rows = await code(tmp_path, prompt="{{ item.missing }}")
    row = rows.prepare(0, {"text": "x"})
    assert row.messages is None
    assert rows.key(row) == rows.key(rows.prepare(1, {"text": "x"})), "then the item names it"


async def test_an_image_is_named_by_its_content(tmp_path: Path) -> None:
    given = tmp_path / "runs" / "0193f00000000000abcdef" / "given"
    given.mkdir(parents=True)
    keys = set()
    for content in (b"one", b"two"):
        (given / "a.png").write_bytes(content)
        rows = await code(tmp_path, prompt="what is it", images=["a.png"])
        keys.add(rows.key(rows.prepare(0, "x")))
    assert len(keys) == 2
