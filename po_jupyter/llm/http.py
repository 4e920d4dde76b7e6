"""The old path of `po_jupyter.providers.Target` and `Http`, for one release."""

from __future__ import annotations

from po_jupyter.llm.moved import moved_names, to_public

__getattr__ = moved_names(__name__, to_public(Target="Target", Http="Http"))
