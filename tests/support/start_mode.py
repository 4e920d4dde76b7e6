"""How the workers of tests come to be: PO_WORKER_START=spawn has every test that starts one start it by spawn."""

from __future__ import annotations

from po_jupyter.config import Settings


def set_worker_start(start: str | None) -> None:
    """Make it the default of all settings that are made in this process from now on."""
    Settings.model_fields["worker_start"].default = start
    Settings.model_rebuild(force=True)
