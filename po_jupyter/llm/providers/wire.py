"""The old path of `po_jupyter.providers.HttpProvider` and `Endpoint`, for one release."""

from __future__ import annotations

from po_jupyter.llm.moved import moved_names, to_public

_NAMES = to_public(Endpoint="Endpoint")
_NAMES["OneServer"] = (
    "po_jupyter.llm.providers.old_base_classes:OneServer",
    "po_jupyter.providers.HttpProvider",
)

__getattr__ = moved_names(__name__, _NAMES)
