"""The cache policy of calls (G2): the run's option wins over the call's, that over the task's."""

from __future__ import annotations

from po_jupyter.llm.chat import CacheMode
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.definition import RunOptions
from po_jupyter.model.values.task_kind import ASKS_MODEL


def cache_mode(
    task: Task, options: RunOptions, *, again: bool = False, requested: CacheMode | None = None
) -> CacheMode:
    """The way in which a call of `task` uses the cache.

    Prompt tasks do unless they have `cache: false`, Python tasks only on request: of the task, or of the call
    (`requested`). A run may switch it off or refresh it (`options.cache`, `options.fresh`), for what would use it
    at all. `again`: a new attempt sends its calls anew, and their answers replace those in the cache (P3).
    """
    mode: CacheMode = (
        (task.cache if task.cache is not None else task.kind in ASKS_MODEL) if requested is None else requested
    )
    if mode is False or options.cache is False:
        return False
    return "refresh" if again or options.cache == "refresh" or options.fresh else mode
