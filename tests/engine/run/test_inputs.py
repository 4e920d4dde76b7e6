"""The inputs of a run, from its definition as the store has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.run.inputs import run_inputs
from po_jupyter.errors import InvalidPipeline, InvalidSeed, NotFound
from po_jupyter.model.run.row_file_ref import RowFileRef
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import Lease
from tests.store.files.test_row_files import TEXT, digest, keep

PIPELINE = {"name": "p", "tasks": [{"name": "a", "prompt": "x"}]}
SEED = {"name": "s", "data": {"x": 1}}


def read(tmp: Path, owner: str = "me", **fields: Any) -> RunInputs:
    return run_inputs(
        {"pipeline": PIPELINE, "seed": SEED, **fields},
        Lease("r", 7),
        owner=owner,
        settings=Settings(data_dir=tmp),
        run_dir=tmp / "runs" / "r",
        worker={"pid": 42, "python": "3.11"},
    )


def test_what_was_submitted_is_what_the_run_has(tmp_path: Path) -> None:
    inputs = read(tmp_path, options={"limit": 3, "of a later version": 1}, code_allowed=True)
    assert (inputs.run, inputs.fence, inputs.owner, inputs.seed.name) == ("r", 7, "me", "s")
    assert (inputs.options.limit, inputs.definition.code_allowed) == (3, True)
    assert inputs.worker == {"pid": 42, "fence": 7, "python": "3.11"}


def test_a_file_of_rows_is_rows_to_its_owner_and_to_nobody_else(tmp_path: Path) -> None:
    """P6: a hash is no key to the rows of somebody else."""
    keep(RowFiles(tmp_path), TEXT)
    seed = {"name": "s", "data": {"rows": RowFileRef(digest(TEXT), 3).to_json(), "x": 1}}
    inputs = read(tmp_path, seed=seed)
    assert inputs.seed_data["rows"] == [{"a": 1}, "é", []]
    assert inputs.seed_data["x"] == 1
    with pytest.raises(NotFound, match="rows of this seed"):
        list(read(tmp_path, "other", seed=seed).seed_data["rows"])


def test_a_definition_that_this_version_cannot_run_is_refused(tmp_path: Path) -> None:
    """P11."""
    with pytest.raises(InvalidPipeline):
        read(tmp_path, pipeline={"name": "p", "tasks": []})
    with pytest.raises(InvalidSeed):
        read(tmp_path, seed={"name": "s"})
