"""Which calls the cache may answer (G2): what the run says, over what the call says, over what the task says."""

from __future__ import annotations

from po_jupyter.llm.chat import CacheMode
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.definition import RunOptions


def cache_mode(
    task: Task, options: RunOptions, *, again: bool = False, given: CacheMode | None = None
) -> CacheMode:
    """How a call of `task` uses the cache.

    Prompt tasks do unless they say `cache: false`, Python tasks only when asked: by the task, or by the call
    (`given`). A run may switch it off or refresh it (`options.cache`, `options.fresh`), for what would use it
    at all. `again`: a new attempt asks anew, and what it is told replaces what is there (P3).
    """
    wanted: CacheMode = (
        (task.cache if task.cache is not None else task.kind == "prompt") if given is None else given
    )
    if wanted is False or options.cache is False:
        return False
    return "refresh" if again or options.cache == "refresh" or options.fresh else wanted
