"""What rows of a Python map read besides their item, recorded and matched without a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.engine.files.artifacts import RunFiles
from po_jupyter.engine.maps.dependencies import RowDependencies
from po_jupyter.engine.python.inputs import TaskInputs
from po_jupyter.engine.replay.history import History
from po_jupyter.engine.state.run_state import RunState
from tests.support.engine import RUN, inputs_of

TASK = {"name": "m", "source": "def inference(ctx): return 1", "for_each": "{{ seed.rows }}"}


def dependencies(tmp: Path, outputs: dict[str, object] | None = None, words: str = "kind") -> RowDependencies:
    inputs = inputs_of(tmp, [TASK], {"words": words})
    state = RunState(RUN)
    return RowDependencies(inputs, RunFiles(inputs.run_dir, 1, History(state), lambda: state), outputs or {})


def test_nothing_read_is_nothing_recorded(tmp_path: Path) -> None:
    found = dependencies(tmp_path)
    assert not found.unknown
    assert found.recorded(3) == {}
    assert found.match({}, 3)


def test_what_was_read_is_recorded_once_it_is_hashed(tmp_path: Path) -> None:
    found = dependencies(tmp_path, {"before": [1]})
    inputs = TaskInputs({"words": "kind"}, {"before": [1]}, found)
    assert inputs.seed == {"words": "kind"} and inputs.tasks["before"] == [1]
    assert found.unknown
    found.fill()
    recorded = found.recorded(3)
    assert set(recorded) == {"seed", "tasks.before"}
    assert found.match(recorded, 5), "the row's number was not read"


@pytest.mark.parametrize("name", ["seed", "tasks.before", "artifacts"])
def test_another_value_is_no_match(tmp_path: Path, name: str) -> None:
    found = dependencies(tmp_path / "one", {"before": [1]})
    found.record(name)
    found.fill()
    recorded = found.recorded(0)
    given = tmp_path / "two" / "runs" / RUN / "given"
    given.mkdir(parents=True)
    (given / "a.txt").write_text("another")
    assert not dependencies(tmp_path / "two", {"before": [2]}, words="strict").match(recorded, 0)


def test_a_row_that_read_its_index_matches_that_row_alone(tmp_path: Path) -> None:
    found = dependencies(tmp_path)
    found.record("index")
    found.fill()
    assert found.recorded(4) == {"index": 4}
    assert found.match({"index": 4}, 4) and not found.match({"index": 4}, 5)


def test_what_is_not_there_is_no_match(tmp_path: Path) -> None:
    assert not dependencies(tmp_path).match({"tasks.gone": "x"}, 0)


def test_a_name_that_only_an_earlier_outcome_read_does_not_stand_for_one_that_was_read(tmp_path: Path) -> None:
    """Row y's answer was kept without what it read, and reused when that was another."""
    found = dependencies(tmp_path, {"a": [1]})
    found.match({"seed": found.hash_of("seed") or ""}, 0)
    found.record("tasks.a")
    assert found.unknown
    found.fill()
    assert "tasks.a" in found.recorded(1)
