"""Prompt pipelines that live in a notebook and outlive it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from po_jupyter.client.client import Client
    from po_jupyter.client.default import chat
    from po_jupyter.client.discovery import connect
    from po_jupyter.client.run import Run
    from po_jupyter.client.tables.operations import classify, extract, filter, map
    from po_jupyter.engine.lifecycle.frame import StageResult
    from po_jupyter.errors import PoError
    from po_jupyter.model.pipeline.pipeline import LLM, Budget, Gate, Pipeline, Refine, Task
    from po_jupyter.model.run.answer import Answer
    from po_jupyter.model.run.seed import Seed
    from po_jupyter.model.run.usage import Usage

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 - in plain order, as the test of public names reads it
    "Answer",
    "Budget",
    "Client",
    "Gate",
    "LLM",
    "Pipeline",
    "PoError",
    "Refine",
    "Run",
    "Seed",
    "StageResult",
    "Task",
    "Usage",
    "__version__",
    "chat",
    "classify",
    "connect",
    "extract",
    "filter",
    "map",
]

# Imported when first used: a kernel, a worker and Jupyter itself each need only a part of it.
_HOMES = {
    "LLM": "model.pipeline.pipeline",
    "Answer": "model.run.answer",
    "Budget": "model.pipeline.pipeline",
    "Client": "client.client",
    "Gate": "model.pipeline.pipeline",
    "Pipeline": "model.pipeline.pipeline",
    "PoError": "errors",
    "Refine": "model.pipeline.pipeline",
    "Run": "client.run",
    "Seed": "model.run.seed",
    "StageResult": "engine.lifecycle.frame",
    "Task": "model.pipeline.pipeline",
    "Usage": "model.run.usage",
    "chat": "client.default",
    "classify": "client.tables.operations",
    "connect": "client.discovery",
    "extract": "client.tables.operations",
    "filter": "client.tables.operations",
    "map": "client.tables.operations",
}


def __getattr__(name: str) -> Any:
    """A public name, imported at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names too, imported or not."""
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """`%load_ext po_jupyter`: registers the magics. Starts no orchestrator and asks nothing of one."""
    import_module(f"{__name__}.kernel").load(ipython, verbs=lambda: import_module(f"{__name__}.cli.main").po)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """`%unload_ext po_jupyter`: removes the magics; runs go on."""
    import_module(f"{__name__}.kernel").unload(ipython)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "po-jupyter"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    # Imported by the server alone: a kernel that imports po_jupyter must not pay for it.
    module = f"{__name__}.server.extension"
    return [{"module": module, "app": import_module(module).PoExtension}]


# `df.po.map(...)`: pandas and polars are not imported for it, only listened for.
import_module(f"{__name__}.client.tables.accessors").register()
