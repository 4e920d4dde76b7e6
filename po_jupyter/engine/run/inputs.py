"""Reading the inputs of a run from its definition in the store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from po_jupyter.config import Settings
from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.run.seed import read_seed
from po_jupyter.model.values.json import JsonValue
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import Lease

if TYPE_CHECKING:
    from po_jupyter.model.run.event_data import RunStartedData


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
        pipeline=validate_pipeline(parsed.pipeline, recorded=True),
        seed=seed,
        seed_data=RowFiles(settings.data_dir).with_rows(owner, seed.data),
        settings=settings,
        run_dir=run_dir,
        worker={"pid": os.getpid(), "fence": lease.fence, **(worker or {})},
    )
