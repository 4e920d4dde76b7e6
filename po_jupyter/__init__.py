"""Prompt pipelines that live in a notebook and outlive it."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__"]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "po-jupyter"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    # Imported by the server alone: a kernel that imports po_jupyter must not pay for it.
    from po_jupyter.server.extension import PoExtension

    return [{"module": "po_jupyter.server.extension", "app": PoExtension}]
