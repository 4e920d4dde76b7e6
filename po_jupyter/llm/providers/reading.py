"""The old path of `po_jupyter.providers.ResponseReader` and `usage_from`, for one release."""

from __future__ import annotations

from po_jupyter.llm.moved import moved_names, to_public

_NAMES = to_public(used="usage_from", count="as_count", part="mapping_at", rows="mappings_in", word="as_text")
_NAMES["Reading"] = ("po_jupyter.llm.providers.old_base_classes:Reading", "po_jupyter.providers.ResponseReader")

__getattr__ = moved_names(__name__, _NAMES)
