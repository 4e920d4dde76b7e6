"""A key that was set here, where the orchestrator cannot see it: said, and never sent anywhere (G16)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from po_jupyter.errors import PoError


def noticed(error: PoError, environ: Mapping[str, str] | None = None) -> PoError:
    """`error`, with a word in its hint about each variable that it misses and this process has."""
    words = "\n".join(words_of(error.details, environ))
    if words:
        error.hint = f"{words}\n{error.hint}" if error.hint else words
    return error


def words_of(details: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> list[str]:
    """A line for each variable of an error's details that is set in this process."""
    environ = os.environ if environ is None else environ
    kernel = "ipykernel" in sys.modules
    here, verb = ("this kernel", "%po") if kernel else ("this process", "po")
    return [
        f"{variable} is set in {here} only, the orchestrator does not see it: {verb} keys set {provider}"
        for provider, variable in _missing(details)
        if environ.get(variable, "").strip()
    ]


def _missing(details: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    listed = details.get("missing")
    for one in [details, *(listed if isinstance(listed, list) else ())]:
        if isinstance(one, Mapping) and isinstance(one.get("variable"), str):
            yield str(one.get("provider") or "PROVIDER"), one["variable"]
