"""Kill -9 of workers, nodes, serving nodes, the broker and the database, one after the other at random instants.

    python -m tests.distributed.chaos --kills 500

shares the kills among the store alone, Valkey, RabbitMQ and SQS (moto), as far as they are installed, prints what it
found as JSON, and exits with 1 when a run was lost or wrong, an answered call was sent again, or a run was taken over
later than its node's term and 2 s after the kill. `PO_CHAOS_SEED` plays it again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.distributed.chaos.cluster import BROKERS
from tests.distributed.chaos.monkey import Report, play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.distributed.chaos")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--over", nargs="*", default=list(BROKERS), choices=list(BROKERS))
    parser.add_argument("--json", type=Path, help="write the report there too")
    parser.add_argument("--keep", type=Path, help="a directory for the logs, where something was wrong")
    options = parser.parse_args()
    seed = int(os.environ.get("PO_CHAOS_SEED") or random.randrange(2**32))
    print(f"PO_CHAOS_SEED={seed}", flush=True)
    found: dict[str, Report] = {}
    for number, broker in enumerate(options.over):
        share = options.kills // len(options.over) + (number < options.kills % len(options.over))
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="po-chaos-", dir="/tmp") as folder:
            found[broker] = play(Path(folder), broker, share, random.Random(seed + number), options.keep)
        line = {**found[broker].to_json(), "seconds": round(time.monotonic() - began)}
        print(json.dumps({broker: line}), flush=True)
        if options.json is not None:
            lines = {name: report.to_json() for name, report in found.items()}
            options.json.write_text(json.dumps(lines, indent=1) + "\n")
    return 1 if any(report.problems for report in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
