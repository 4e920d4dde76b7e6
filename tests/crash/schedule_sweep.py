"""A process that kills schedules over a store in PostgreSQL at each crash point of their own.

    python schedule_sweep.py URL-WITHOUT-SCHEMA DIRECTORY      one JSON line for each killed process

It has one thread and never opens a store itself, so that it can fork; everything else happens in its children.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

from tests.crash.crash_scenarios import SCENARIOS
from tests.crash.crash_sweep import count, die_at, in_child


def main(database: str, directory: str) -> None:
    scenario = SCENARIOS["schedule"]

    def fresh() -> Path:
        """A store of its own with a schedule that is due."""
        name = f"s{uuid.uuid4().hex[:12]}"
        at = Path(directory) / name
        at.mkdir(parents=True)
        (at / "url").write_text(f"{database}&schema={name}")
        in_child(lambda: scenario.setup(at))
        return at

    # The store's own are those of postgres_sweep.
    for point in [one for one in count(lambda: scenario.act(fresh())) if one[0].startswith("schedule.")]:
        at = fresh()
        killed = die_at(point, lambda at=at: scenario.act(at))
        state = in_child(lambda at=at: scenario.check(at))[1]
        in_child(lambda at=at: scenario.finish(at))
        print(json.dumps({"point": f"{point[0]}:{point[1]}", "killed": killed, "state": state}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
