"""G14: metrics are as true as the logs, from the first request on, and their labels are bounded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from po_jupyter.errors import StoreError
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.telemetry.metrics import MAX_MODELS, OTHER, Metrics
from po_jupyter.testing.conformance.store import new_run
from tests.support.orchestrator import body, orchestrator, task, wait_for_state, wait_for_task_state

pytestmark = pytest.mark.integration

ROWS = {
    "name": "rows",
    "for_each": "{{ seed.rows }}",
    "prompt": "say {{ item }}",
    "llm": {"model": "fake:echo"},
}


async def metrics(service: RunningOrchestrator) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels, in the order of their names."""
    families = text_string_to_metric_families((await service.monitoring.metrics()).decode())
    return {
        (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
    }


async def test_runs_tasks_rows_and_calls_are_counted_once(tmp_path: Path) -> None:
    async with orchestrator(tmp_path / "data") as service:
        before, _ = await service.submissions.submit(body(task("a")), owner="me")
        await wait_for_state(service, before.id)
        assert (await metrics(service))["po_runs_ended_total", "done"] == 0, "what was before is not counted"

        good, _ = await service.submissions.submit(
            {"pipeline": {"name": "p", "tasks": [ROWS]}, "seed": {"name": "s", "data": {"rows": [1, 2, 3]}}},
            owner="me",
        )
        bad, _ = await service.submissions.submit(body(task("a", fail=str(tmp_path / "never"))), owner="you")
        for view in (good, bad):
            await wait_for_state(service, view.id)
        for _ in range(2):  # a second look adds nothing
            seen = await metrics(service)
        assert seen["po_runs_ended_total", "done"] == 1
        assert seen["po_runs_ended_total", "failed"] == 1
        assert seen["po_tasks_total", "done"] == 1
        assert seen["po_tasks_total", "failed"] == 1
        assert seen["po_rows_total", "done"] == 3
        assert seen["po_calls_total", "echo", "done"] == 3
        assert seen["po_tokens_total", "input", "echo"] > 0
        assert seen["po_call_seconds_count", "echo"] == 3
        assert seen["po_holds_store",] == 1
        assert (seen["po_nodes", "works"], seen["po_nodes", "serves"]) == (1, 0)
        assert seen["po_data_free_bytes",] > 0
        assert not any("me" in labels or good.id in labels for labels in seen), "nobody is a label"


async def test_a_run_at_work_is_seen_with_its_worker(tmp_path: Path) -> None:
    async with orchestrator(tmp_path / "data", max_running=1) as service:
        first, _ = await service.submissions.submit(body(task("a", seconds=60)), owner="me")
        await wait_for_state(service, first.id, "running")
        second, _ = await service.submissions.submit(body(task("a")), owner="me")
        seen = await metrics(service)
        assert seen["po_runs", "running"] == 1
        assert seen["po_runs", "pending"] == 1
        assert seen["po_queue_depth",] == 1
        assert seen["po_workers",] == 1
        assert seen["po_worker_resident_memory_bytes",] > 1 << 20
        for view in (second, first):
            await service.control.cancel(view.id, "me")
            await wait_for_state(service, view.id)


async def test_a_gate_in_the_pipeline_of_a_task_waits_for_a_person_too(tmp_path: Path) -> None:
    async with orchestrator(tmp_path / "data") as service:
        gated = {"name": "a", "prompt": "say a", "llm": {"model": "fake:echo"}, "gate": "may it?"}
        outer = {"name": "t", "pipeline": {"name": "inner", "tasks": [gated]}}
        view, _ = await service.submissions.submit(body(outer), owner="me")
        await wait_for_task_state(service, view.id, "t")
        async with asyncio.timeout(20):
            while not service.store.runs(states=("waiting",), children=True).heads:
                await asyncio.sleep(0.02)
        assert (await metrics(service))["po_gates_open",] == 1
        await service.control.cancel(view.id, "me")
        await wait_for_state(service, view.id)


def test_a_model_too_many_is_another() -> None:
    metrics = Metrics()
    names = [metrics.model(f"model-{n}") for n in range(MAX_MODELS + 5)]
    assert names[MAX_MODELS:] == [OTHER] * 5
    assert metrics.model("model-0") == "model-0"
    assert metrics.model("") == OTHER


async def test_a_store_that_cannot_be_written_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with orchestrator(tmp_path / "data") as service:
        await service.monitoring.probe()

        def full(kind: str, name: str, value: object) -> None:
            raise StoreError("the disk is full")

        monkeypatch.setattr(service.store, "put", full)
        with pytest.raises(StoreError, match="full"):
            await service.monitoring.probe()


async def test_a_scrape_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with orchestrator(tmp_path / "data") as service:
        await metrics(service)
        view, _ = await service.submissions.submit(body(task("a")), owner="me")
        await wait_for_state(service, view.id)

        def away(*args: object, **kwargs: object) -> None:
            raise StoreError("the store is away")

        with monkeypatch.context() as patch, pytest.raises(StoreError):
            patch.setattr(service.store, "records", away)
            await service.monitoring.metrics()
        assert (await metrics(service))["po_runs_ended_total", "done"] == 1


async def test_a_probe_says_who_works(tmp_path: Path) -> None:
    async with orchestrator(tmp_path / "data") as service:
        assert await service.monitoring.probe() == (True, None)
        assert service.store.names("probe") == ["ready"]


async def test_the_parts_of_a_run_are_no_runs_but_wait_for_workers(tmp_path: Path) -> None:
    store, metrics = MemoryStore(), Metrics()
    store.create_run(new_run("00a1"))
    store.create_run(new_run("00b1", parent="00a1"))
    async with orchestrator(tmp_path / "data") as service:
        service.monitoring._look(metrics, store.active(), True)
    assert metrics.registry.get_sample_value("po_runs", {"state": "pending"}) == 1
    assert metrics.registry.get_sample_value("po_queue_depth") == 2
