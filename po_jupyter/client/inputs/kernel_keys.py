"""Hints about API keys that are set in this process, where the orchestrator cannot see them (G16).

A key itself is never read, shown or sent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

from po_jupyter.errors import PoError


def with_key_hints(error: PoError, environ: Mapping[str, str] | None = None) -> PoError:
    """`error`, with a line in its hint for each variable that it misses and this process has."""
    hints = "\n".join(key_hints(error.details, environ))
    if hints:
        error.hint = f"{hints}\n{error.hint}" if error.hint else hints
    return error


def key_hints(details: Mapping[str, object], environ: Mapping[str, str] | None = None) -> list[str]:
    """A line for each variable of an error's details that is set in this process."""
    environ = os.environ if environ is None else environ
    kernel = "ipykernel" in sys.modules
    here, verb = ("this kernel", "%po") if kernel else ("this process", "po")
    return [
        f"{variable} is set in {here} only, the orchestrator does not see it: {verb} keys set {provider}"
        for provider, variable in _missing_variables(details)
        if environ.get(variable, "").strip()
    ]


def _missing_variables(details: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """(provider, variable) pairs: of the details themselves, and of the list `missing` in them."""
    listed = details.get("missing")
    for entry in [details, *(listed if isinstance(listed, list) else ())]:
        if isinstance(entry, Mapping) and isinstance(variable := entry.get("variable"), str):
            yield str(entry.get("provider") or "PROVIDER"), variable
