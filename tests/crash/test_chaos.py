"""Nothing that was paid for is ever lost (done-when 1): P1, P2, P3, P12, R1.2, R3.3, under chaos.

The seed is printed; `PO_CHAOS_SEED=N` plays it again. `PO_CHAOS_SECONDS` and `PO_CHAOS_RUNS` say how long and
how much; `-m chaos` alone is the whole proof, ten minutes.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.crash import chaos
from tests.crash.chaos_checks import Evidence, digest
from tests.crash.chaos_monkey import script
from tests.crash.chaos_plans import USED, Plan, plan
from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: the monkey reads /proc")
KEPT = ROOT / "test-artifacts"


async def play(folder: Path, seconds: float, runs: int) -> None:
    seconds = float(os.environ.get("PO_CHAOS_SECONDS") or seconds)
    runs = int(os.environ.get("PO_CHAOS_RUNS") or runs)
    seed = chaos.seed_of()
    print(f"PO_CHAOS_SEED={seed}")
    report = await chaos.run(folder, seed=seed, seconds=seconds, runs=runs, keep=KEPT)
    print(report)
    assert not report.problems, str(report)


@pytest.mark.timeout(180)
async def test_a_little_chaos_loses_nothing_and_pays_nothing_twice(tmp_path: Path) -> None:
    """What every test run does: 20 s of it."""
    await play(tmp_path, 20.0, 20)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
async def test_two_hundred_runs_in_ten_minutes_of_chaos(tmp_path: Path) -> None:
    """Every run ends as it would have; no acknowledged outcome is lost; no finished call is sent again; offsets
    have no gaps; no budget is exceeded by more than the calls in flight."""
    await play(tmp_path, 600.0, 200)


def test_a_seed_says_what_happens() -> None:
    """Reproducible: the same runs, the same strokes at the same instants."""

    def drawn(seed: int) -> tuple[Any, ...]:
        dice = random.Random(seed)
        return [plan(i, dice).body() for i in range(50)], script(dice, 60.0, 0.5)

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


# -- the checks can fail ---------------------------------------------------------------------------


def whole() -> dict[str, Any]:
    """The evidence of a run of one task with which all was well."""
    made = Plan("r000", "linear", [])
    made.ask("t0")
    key = "t0/-/1/0/inference/abc/0"
    events = [
        [{"type": "run.created", "data": {}}],
        [{"type": "task.started", "task": "t0", "data": {}}],
        [{"type": "task.done", "task": "t0", "data": {}}, {"type": "run.done", "data": {}}],
    ]
    calls: list[list[dict[str, Any]]] = [
        [],
        [{"key": key, "kind": "intent"}],
        [{"key": key, "kind": "response", "ok": True}],
    ]
    records, first = [], 1
    for n, (record_events, record_calls) in enumerate(zip(events, calls, strict=True), 1):
        records.append(
            {"n": n, "fence": 1, "first": first, "events": record_events, "calls": record_calls, "items": []}
        )
        first += len(record_events)
    tokens = {"input_tokens": USED["prompt_tokens"], "output_tokens": USED["completion_tokens"]}
    return {
        "plan": made,
        "records": records,
        "view": {"state": "done", "error": None, "usage": tokens},
        "outputs": {"t0": "echo: r000 t0"},
        "requests": Counter({"r000 t0": 1}),
        "seen": [digest(record) for record in records],
    }


def test_a_run_with_which_all_was_well_has_no_problems() -> None:
    assert Evidence(**whole()).problems() == []


def _sent_again(evidence: dict[str, Any]) -> None:
    evidence["records"][2]["calls"].append({"key": "t0/-/1/0/inference/abc/0", "kind": "intent"})
    evidence["seen"] = []


def _sent_unannounced(evidence: dict[str, Any]) -> None:
    evidence["requests"]["r000 t0"] = 2


def _record_lost(evidence: dict[str, Any]) -> None:
    evidence["records"].pop()


def _record_rewritten(evidence: dict[str, Any]) -> None:
    evidence["records"][1]["events"][0]["data"] = {"other": 1}


def _gap(evidence: dict[str, Any]) -> None:
    evidence["records"][2]["first"] += 1


def _late_writer(evidence: dict[str, Any]) -> None:
    evidence["records"][1]["fence"] = 2


def _done_twice(evidence: dict[str, Any]) -> None:
    evidence["records"][2]["events"].append({"type": "task.started", "task": "t0", "data": {}})


def _other_end(evidence: dict[str, Any]) -> None:
    evidence["view"]["state"] = "dead"


def _other_output(evidence: dict[str, Any]) -> None:
    evidence["outputs"]["t0"] = None


def _over_budget(evidence: dict[str, Any]) -> None:
    evidence["plan"].budget = 5


def _wrong_bill(evidence: dict[str, Any]) -> None:
    evidence["view"]["usage"]["input_tokens"] += 1


@pytest.mark.parametrize(
    "harm",
    [
        _sent_again, _sent_unannounced, _record_lost, _record_rewritten, _gap, _late_writer, _done_twice,
        _other_end, _other_output, _over_budget, _wrong_bill,
    ],
)  # fmt: skip
def test_each_kind_of_harm_is_noticed(harm: Any) -> None:
    """A check that cannot fail proves nothing."""
    evidence = whole()
    harm(evidence)
    assert Evidence(**evidence).problems()
