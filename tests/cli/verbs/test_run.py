"""`po run` and `po submit`: what they send, print and exit with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.client.async_client import TextDelta
from po_jupyter.model.run.seed import Seed
from tests.support.cli import FakeRun, fake_run, make_view


def test_run_follows_in_plain_lines_and_ends_with_the_states_code(po: Any, client: Any) -> None:
    client.runs_there = [
        fake_run(
            make_view("pending"), make_view("running"), TextDelta("r", "label", 2, "hel", 0), make_view("done")
        )
    ]
    code, out, err = po(
        "run", "tickets", "--seed", '[{"text": "a"}]', "--limit", "3", "--budget", "2", "--fresh"
    )
    assert code == 0
    assert err == ""
    pipeline, seed, options = client.submitted[0]
    assert pipeline.name == "tickets"
    assert seed == [{"text": "a"}]
    assert options == {
        "limit": 3, "labels": (), "budget": {"usd": 2.0}, "fresh": True, "idempotency_key": None, "priority": None,
        "cache": None, "skip_validation": False, "model": None,
    }  # fmt: skip
    assert "tickets 1.0.0 · run be7f3a" in out
    assert "label done" in out
    assert "18.2k tokens" in out
    assert "$0.043" in out
    assert "label failed on 1 of 4 rows" in out
    assert "po resume be7f3a --only-failed" in out
    assert "row 2" not in out, "streamed text is for terminals"


def test_no_follow_returns_at_once(po: Any, client: Any) -> None:
    client.runs_there = [fake_run(make_view("pending"))]
    code, out, _ = po("run", "tickets", "--no-follow")
    assert code == 0
    assert "started: po show" in out
    code, out, _ = po("run", "tickets", "--no-wait", "--json")
    assert code == 0
    assert json.loads(out)["state"] == "pending"


def test_a_model_of_the_command_line_is_the_runs_and_leaves_the_definition(
    po: Any, client: Any, tmp_path: Path
) -> None:
    """B6: the run's model wins over those of the pipeline and its tasks, which stay what they were."""
    file = tmp_path / "p.yaml"
    file.write_text(
        "name: p\nllm: {model: 'a:b', temperature: 0.1}\ntasks:\n  - {name: x, prompt: x}\n"
        "  - {name: y, prompt: y, llm: 'c:d'}\n"
    )
    client.runs_there = [fake_run(make_view())]
    assert po("run", str(file), "--model", "openai:gpt-5-mini")[0] == 0
    pipeline, how = client.submitted[0][0], client.submitted[0][-1]
    assert how["model"] == "openai:gpt-5-mini"
    assert pipeline.llm_of(pipeline.task("x")).model == "a:b"
    assert pipeline.llm_of(pipeline.task("y")).model == "c:d"
    code, _, err = po("run", str(file), "--model", "gpt")
    assert code == 2
    assert "provider:model" in err


def test_submit_takes_the_envelope(po: Any, client: Any, tmp_path: Path) -> None:
    """R1.1: files hold the envelope."""
    file = tmp_path / "a-seed.json"
    file.write_text('{"name": "a", "pipeline": "tickets", "data": {"x": 1}}')
    client.runs_there = [fake_run(make_view())]
    assert po("submit", str(file), "--key", "k1")[0] == 0
    pipeline, seed, options = client.submitted[0]
    assert seed == Seed(name="a", pipeline="tickets", data={"x": 1})
    assert pipeline.name == "tickets"
    assert options["idempotency_key"] == "k1"


@pytest.fixture
def run(client: Any) -> FakeRun:
    found = FakeRun([make_view("done")])
    client.runs_there = [found]
    return found


def test_a_priority_goes_along(po: Any, client: Any, run: FakeRun) -> None:
    """B14."""
    assert po("run", "tickets", "--priority", "5", "--no-follow")[0] == 0
    assert client.submitted[0][2]["priority"] == 5
    assert po("run", "tickets", "--priority", "500")[0] == 2
