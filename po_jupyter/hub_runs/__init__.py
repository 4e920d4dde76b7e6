"""Runs without anybody's server, as a JupyterHub service: one table of routes, with the hub's word on who asks.

`python -m po_jupyter.hub_runs --data-dir DIR`. It hosts an orchestrator over a store of its own, in which no code is
run: prompts, maps, gates and batches, owned by a person or by `group:NAME`. Models are asked through the hub's gateway
in the owner's name. Other rooms use nothing of it: they speak HTTP.
"""

from importlib import import_module
from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    module = f"{__name__}.extension"
    return [{"module": module, "app": import_module(module).SharedRunsExtension}]
