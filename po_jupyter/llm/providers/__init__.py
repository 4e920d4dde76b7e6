"""The providers, a module or a folder for each vendor, and the registry that opens them by model ref.

For other rooms: `registry.Providers`, the checks of `refs`, `catalogue` (models by alias, usable models). Authors of
providers import `po_jupyter.providers` instead.
"""

from __future__ import annotations

from po_jupyter.llm.moved import moved_names, to_public

# `Spec` and `Context` were here; their old path stays for one release.
__getattr__ = moved_names(__name__, to_public(Spec="Spec", Context="Context"))
