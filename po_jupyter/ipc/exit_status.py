"""The exit statuses of a worker process, by which the orchestrator tells an orderly end from a crash."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """The statuses that are no crash. Every other one is, and so is every signal."""

    ORDERLY = 0  # the run ended, waits for a gate, or was given back
    OVERTAKEN = 70  # another process has claimed the run
    STORE_FAILED = 74  # the store could not be read or written: not the run's fault
    NEEDS_OWN_PROCESS = (
        75  # of a run in a process of many: it was given back, because it would hold up the others
    )
