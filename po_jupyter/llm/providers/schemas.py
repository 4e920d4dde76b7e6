"""The old path of `po_jupyter.providers.with_instructions` and `schema_as_text`, for one release."""

from __future__ import annotations

from po_jupyter.llm.moved import moved_names, to_public

__getattr__ = moved_names(
    __name__, to_public(instructed="with_instructions", told="schema_as_text", JSON_ONLY="JSON_ONLY")
)
