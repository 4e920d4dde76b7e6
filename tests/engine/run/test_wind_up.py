"""Batches of a cancelled run: ended within the time that there is, and a problem with one is not the run's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from po_jupyter.engine.maps.batches import batch_map
from po_jupyter.engine.run import wind_up
from po_jupyter.errors import ModelUnavailable, StoreError
from tests.support.maps import map_parts


class Winding:
    """Stands for a BatchMap."""

    error: Exception | None = None
    wound: ClassVar[list[str]] = []

    def __init__(self, state: Any, *, stopping: bool = False) -> None:
        assert stopping
        self.name = state.task.name

    @classmethod
    async def open(cls, state: Any, *, stopping: bool = False) -> Winding:
        return cls(state, stopping=stopping)

    async def wind_up(self) -> None:
        self.wound.append(self.name)
        if self.error is not None:
            raise self.error


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(batch_map, "BatchMap", Winding)
    monkeypatch.setattr(Winding, "wound", [])
    made = map_parts(tmp_path, ["a"], mode="batch")
    made.log.state.tasks["m"].batches = {"t": {}}
    return made


async def test_each_map_with_an_open_batch_is_wound_up(parts: Any) -> None:
    await wind_up.wind_up(parts)
    assert Winding.wound == ["m"]


async def test_a_provider_that_does_not_answer_leaves_its_batch(
    parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Winding, "error", ModelUnavailable("not now"))
    await wind_up.wind_up(parts)
    monkeypatch.setattr(Winding, "error", StoreError("disk"))
    with pytest.raises(StoreError):
        await wind_up.wind_up(parts)
