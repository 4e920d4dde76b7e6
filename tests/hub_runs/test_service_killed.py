"""The service of shared runs over PostgreSQL, killed in mid-run: its runs end, and nothing is paid twice (issue 12)."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.postgres import postgres_server
from tests.support.shared_runs import TEAM_KEY, SharedRuns, shared_runs

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def vendor() -> Iterator[ModelServer]:
    with ModelServer(key=TEAM_KEY, latency=0.1) as server:
        yield server


@pytest.fixture(scope="module", params=["directory", pytest.param("postgres", marks=pytest.mark.slow)])
def service(
    request: pytest.FixtureRequest, vendor: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedRuns]:
    with ExitStack() as stack:
        settings = {"PO_LEASE_TTL": "2"}
        if request.param == "postgres":
            settings["PO_STORE"] = stack.enter_context(postgres_server(durable=True)).url()
        folder = tmp_path_factory.mktemp(request.param)
        yield stack.enter_context(shared_runs(folder, vendor.root_url, settings=settings))


def test_killed_in_mid_run_the_run_goes_on_at_the_next_start(
    service: SharedRuns, vendor: ModelServer, request: pytest.FixtureRequest
) -> None:
    name = f"killed-{request.node.callspec.params['service']}"
    task = {
        "name": "label",
        "for_each": "{{ seed.rows }}",
        "prompt": f"{name} {{{{ item }}}}.",
        "max_concurrency": 3,
    }
    pipeline = {"name": "k", "llm": {"model": "openai:gpt-5-mini", "max_tokens": 20}, "tasks": [task]}
    with service.client("alice") as alice:
        body = {"pipeline": pipeline, "seed": {"name": name, "data": {"rows": list(range(60))}}}
        response = alice.post("runs", json=body)
        assert response.status_code == 201, response.text
        run = response.json()["run"]["id"]

    def asked() -> Counter[str]:
        texts = (json.dumps(call.body) for call in vendor.requests)
        return Counter(part.split(".")[0] for text in texts for part in text.split(f"{name} ")[1:])

    for rows in (8, 25, 45):
        until = time.monotonic() + 60
        while len(asked()) < rows:
            assert time.monotonic() < until, asked()
            time.sleep(0.02)
        service.kill("hub_runs")
        service.start("hub_runs")
        service.await_answer()
    view = service.await_state("alice", run, "done", "failed", "dead", seconds=120)
    assert view["state"] == "done", view["error"]
    assert set(asked()) == {str(n) for n in range(60)}
    assert sum(asked().values()) == 60, "the workers outlive the service, and nothing is asked twice"
