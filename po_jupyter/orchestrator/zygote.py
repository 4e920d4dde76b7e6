"""The zygote's old address, kept for one release.

An orchestrator of version 0.1.0 or older starts `-m po_jupyter.orchestrator.zygote` in the interpreter of a run. It
gets the zygote's greeting, and so can say "has version X" instead of "has no po_jupyter".
"""

from __future__ import annotations

from po_jupyter.worker.zygote import main

if __name__ == "__main__":
    main()
