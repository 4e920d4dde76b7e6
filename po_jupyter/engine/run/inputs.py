"""Reading the inputs of a run from its definition in the store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import from_json, to_json

from po_jupyter.config import Settings
from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.run.seed import read_seed
from po_jupyter.model.values.json import JsonValue
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import Lease

if TYPE_CHECKING:
    from po_jupyter.model.run.event_data import RunStartedData

_SHORT = 20_000  # characters of a definition that is kept parsed


def run_inputs(
    definition: Mapping[str, JsonValue],
    lease: Lease,
    *,
    owner: str,
    settings: Settings,
    run_dir: Path,
    worker: RunStartedData | None = None,
) -> RunInputs:
    """The inputs of the run whose definition, as the store has it, is `definition`.

    Raises InvalidPipeline, InvalidSeed for a definition that this version cannot run.
    """
    parsed = RunDefinition.from_json(definition)
    seed = read_seed(parsed.seed)
    return RunInputs(
        run=lease.run,
        owner=owner,
        fence=lease.fence,
        definition=parsed,
        pipeline=_pipeline(parsed.pipeline),
        seed=seed,
        seed_data=RowFiles(settings.data_dir).with_rows(owner, seed.data),
        settings=settings,
        run_dir=run_dir,
        worker={"pid": os.getpid(), "fence": lease.fence, **(worker or {})},
    )


def _pipeline(recorded: Mapping[str, JsonValue]) -> Pipeline:
    """The pipeline of a definition; runs of one pipeline that are worked off together share it, which is frozen."""
    text = to_json(recorded)
    return _short_pipeline(text) if len(text) <= _SHORT else validate_pipeline(recorded, recorded=True)


@lru_cache(maxsize=100)
def _short_pipeline(text: bytes) -> Pipeline:
    return validate_pipeline(from_json(text), recorded=True)
