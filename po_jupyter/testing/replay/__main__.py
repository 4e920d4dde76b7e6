"""`python -m po_jupyter.testing.replay FOLDER`: how the recorded exchanges in a folder are read; 1 if any is wrong."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import structlog

from po_jupyter.testing.replay.runner import ReplayResult, counted, replay


def main() -> int:
    """Print what is read wrong, and counts; the exit status."""
    if len(sys.argv) != 2 or not (folder := Path(sys.argv[1])).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    results = asyncio.run(_print_wrong(folder))
    for line in counted(results):
        print(line)
    print(f"{len(results)} exchanges")
    return 1 if any(result.verdict == "wrong" for result in results) else 0


async def _print_wrong(folder: Path) -> list[ReplayResult]:
    results = []
    async for result in replay(folder):
        results.append(result)
        if result.verdict == "wrong":
            print(f"{result.exchange.source}: " + "; ".join(result.differences), flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
