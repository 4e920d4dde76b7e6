"""A run of one's own moves to the service of shared runs: whole, once, and in one place at any moment (issue 12)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import po_jupyter as po
from po_jupyter.errors import Conflict, Forbidden, InvalidEnvironment, PoError
from po_jupyter.testing.model_server import ModelServer
from tests.support.paths import ROOT
from tests.support.shared_runs import TEAM_KEY, SharedRuns, shared_runs
from tests.support.start_mode import inherited_environment

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]
MODEL = "openai:gpt-5-mini"


@pytest.fixture(scope="module")
def vendor() -> Iterator[ModelServer]:
    with ModelServer(key=TEAM_KEY, latency=0.15) as server:
        yield server


@pytest.fixture(scope="module")
def service(vendor: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedRuns]:
    with shared_runs(tmp_path_factory.mktemp("shared"), vendor.root_url) as running:
        yield running


class Own:
    """Alice's own orchestrator, in the background, with a key of hers at the same vendor."""

    def __init__(self, folder: Path, service: SharedRuns, vendor: ModelServer) -> None:
        self.folder = folder
        clean = inherited_environment("PO_", "JUPYTER", "JPY", "OPENAI")
        self.environ = {
            **clean, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "150", "HOME": str(folder),
            "PO_DATA_DIR": str(folder / "own"), "PO_HUB_RUNS_URL": service.url, "PO_HUB_TOKEN": "token-of-alice",
            "OPENAI_API_KEY": TEAM_KEY, "OPENAI_BASE_URL": f"{vendor.root_url}/v1", "PO_LEASE_TTL": "2",
        }  # fmt: skip

    def po(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "po_jupyter", *arguments], cwd=self.folder, env={**self.environ, **more},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def json(self, *arguments: str) -> Any:
        done = self.po(*arguments, "--json")
        assert done.returncode in (0, 1, 4), done.stdout + done.stderr
        return json.loads(done.stdout)

    def tombstone(self, run: str) -> Any:
        """What is left of a run here."""
        code = f"import po_jupyter as po; print(po.connect().run({run!r}).view.model_dump_json())"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self.folder, env=self.environ, capture_output=True, text=True,
            timeout=60, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def submit(self, name: str, count: int, **task: Any) -> str:
        (self.folder / f"{name}.yaml").write_text(json.dumps(pipeline(name, **task)))
        rows = json.dumps([f"{name} {n}" for n in range(count)])
        done = self.po("run", f"{name}.yaml", "--seed", rows, "--no-wait", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return str(json.loads(done.stdout)["id"])


def pipeline(name: str, **task: Any) -> dict[str, Any]:
    return {
        "name": name,
        "llm": {"model": MODEL, "max_tokens": 20},
        "tasks": [
            {
                "name": "label", "for_each": "{{ seed.rows }}", "prompt": "about {{ item }}.", "max_concurrency": 2,
                **task,
            },
            {"name": "sum", "prompt": f"in all {name}: {{{{ tasks.label | length }}}}"},
        ],
    }  # fmt: skip


@pytest.fixture
def own(tmp_path: Path, service: SharedRuns, vendor: ModelServer) -> Iterator[Own]:
    own = Own(tmp_path, service, vendor)
    yield own
    own.po("stop")


def asked(vendor: ModelServer, name: str) -> Counter[str]:
    """How often each row of a run was asked for."""
    texts = (json.dumps(call.body) for call in vendor.requests)
    return Counter(part.split(".")[0] for text in texts for part in text.split(f"about {name} ")[1:])


def await_rows(vendor: ModelServer, name: str, count: int) -> None:
    until = time.monotonic() + 60
    while len(asked(vendor, name)) < count:
        assert time.monotonic() < until, asked(vendor, name)
        time.sleep(0.02)


def check_done_once(
    service: SharedRuns, vendor: ModelServer, run: str, name: str, count: int
) -> dict[str, Any]:
    view = service.await_state("alice", run, "done", "failed", "cancelled", "dead")
    assert view["state"] == "done", view["error"]
    assert asked(vendor, name) == Counter({str(n): 1 for n in range(count)}), "each row was paid for once"
    assert view["usage"]["calls"] == count + 1
    return view


def test_a_live_run_moves_with_its_history_and_goes_on_there(
    monkeypatch: pytest.MonkeyPatch, own: Own, service: SharedRuns, vendor: ModelServer
) -> None:
    run = own.submit("live", 30)
    await_rows(vendor, "live", 3)
    moved = own.po("move", run[-6:], "shared")
    assert moved.returncode == 0, moved.stdout + moved.stderr
    assert "--on shared" in moved.stdout
    view = check_done_once(service, vendor, run, "live", 30)
    assert (view["owner"], view["id"]) == ("alice", run)
    here = own.tombstone(run)
    assert here["state"] == "moved"
    assert here["moved"] == {"to": "shared", "group": "", "by": here["moved"]["by"], "accepted": True}
    with service.client("alice") as client:
        events = client.get(f"runs/{run}/events", headers={"Accept": "application/json"}).json()["events"]
        types = [event["type"] for event in events]
        assert types[0] == "run.created"
        assert 0 < types.index("run.received") < types.index("run.done")
        assert len(client.get(f"runs/{run}/model-calls?limit=100").json()["calls"]) == 31
        assert len(client.get(f"runs/{run}/items?task=label").json()["items"]) == 30
    # The tombstone is left alone, and moving it again changes nothing.
    monkeypatch.setenv("PO_DATA_DIR", own.environ["PO_DATA_DIR"])
    with closing(po.connect()) as client:
        tomb = client.run(run)
        for refused in (tomb.resume, tomb.restart, tomb.cancel):
            with pytest.raises(Conflict, match="moved"):
                refused()
    assert (
        "is done, there is nothing to resume" in own.po("resume", run).stderr
    )  # which goes to the right place
    listed = next(each for each in own.json("runs") if each["id"] == run)
    assert (listed["state"], listed["shared"], listed["owner"]) == ("done", True, "alice")
    assert sorted(listed["may"]) == ["gates", "runs:read", "runs:write"]
    assert [act["act"] for act in listed["acts"]] == ["moved"]
    assert "shared · alice" in own.po("runs").stdout
    assert own.po("move", run, "shared").returncode == 0
    assert "another" not in own.po("runs").stderr
    assert own.po("fork", run, "--from-task", "sum", "--json").returncode == 0  # what is here can be copied


@pytest.mark.slow
def test_ended_runs_and_runs_at_a_gate_move_as_they_are(
    own: Own, service: SharedRuns, vendor: ModelServer
) -> None:
    run = own.submit("gated", 2, gate="fine?")
    until = time.monotonic() + 60
    while own.json("show", run)["state"] != "waiting":
        assert time.monotonic() < until
        time.sleep(0.2)
    assert own.po("move", run, "shared", "--group", "red").returncode == 0
    with service.client("bob") as bob, service.client("alice") as alice:
        view = bob.get(f"runs/{run}").json()["run"]
        assert (view["state"], view["owner"]) == ("waiting", "group:red")
        assert bob.post(f"runs/{run}/gate", json={"decision": "approve"}).status_code == 403
        assert alice.post(f"runs/{run}/gate", json={"decision": "approve"}).status_code == 200
    assert service.await_state("bob", run, "done", "failed")["state"] == "done"
    assert sum(asked(vendor, "gated").values()) == 2
    stopped = own.submit("stopped", 150)
    await_rows(vendor, "stopped", 4)
    assert own.po("cancel", stopped).returncode == 0
    while own.json("show", stopped)["state"] != "cancelled":
        time.sleep(0.1)
    asked_before = set(asked(vendor, "stopped"))
    assert own.po("move", stopped, "shared").returncode == 0
    with service.client("alice") as alice:
        assert alice.get(f"runs/{stopped}").json()["run"]["state"] == "cancelled"
        assert alice.post(f"runs/{stopped}/resume", json={}).status_code == 200
    assert service.await_state("alice", stopped, "done", "failed")["state"] == "done"
    counts = asked(vendor, "stopped")
    assert len(counts) == 150
    assert sum(counts[row] for row in asked_before) <= len(asked_before) + 2  # those that the cancel cut off


def test_what_cannot_run_there_is_refused_before_anything_moves(
    own: Own, service: SharedRuns, vendor: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own.environ.items():
        if name.startswith(("PO_", "OPENAI")):
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    seed = ["refused 1"]
    code = {"name": "code", "tasks": [{"name": "t", "source": "def inference(ctx): return 1"}]}
    other = {**pipeline("other"), "llm": {"model": "openai:gpt-5", "max_tokens": 20}}
    with closing(po.connect()) as client:
        cases: list[tuple[Any, type[PoError], str]] = [
            (code, Forbidden, "runs no code that comes with a pipeline"),
            (other, InvalidEnvironment, "openai:gpt-5"),
        ]
        for definition, kind, message in cases:
            run = client.submit(definition, seed=seed)
            run.wait(60)
            with pytest.raises(kind, match=message):
                run.move("shared")
            assert run.refresh().state == "done"
            assert [event["type"] for event in run.events()][-1] == "run.done"
        run = client.submit(pipeline("mine"), seed=["mine 1"])
        with pytest.raises(Forbidden, match="you have no role in the group 'blue'"):
            run.move("shared", "blue")
        run.wait(60)
        assert run.refresh().state == "done"
        with pytest.raises(PoError, match="shared"):
            run.move("elsewhere")
        assert run.move("shared").state == "moved"
        with pytest.raises(Conflict, match="was moved to yourself"):
            run.move("shared", "red")


@pytest.mark.parametrize(
    "step",
    [
        "move.committed",
        *(
            pytest.param(step, marks=pytest.mark.slow)
            for step in ("move.packed", "move.sent", "move.accepted", "move.noted")
        ),
    ],
)
def test_killed_at_any_step_the_run_is_in_one_place_and_moving_it_again_finishes(
    own: Own, service: SharedRuns, vendor: ModelServer, step: str
) -> None:
    name = step.replace(".", "")
    assert own.po("start", PO_TESTING="1", PO_CRASHPOINT=f"{step}:1").returncode == 0
    run = own.submit(name, 16)
    await_rows(vendor, name, 3)
    broken = own.po("move", run, "shared")
    assert broken.returncode != 0, "the orchestrator died in the middle"
    finished = own.po("move", run, "shared")  # by an orchestrator that is started for it
    assert finished.returncode == 0, finished.stdout + finished.stderr
    check_done_once(service, vendor, run, name, 16)
    assert own.tombstone(run)["moved"]["accepted"] is True
    assert not list((own.folder / "own" / "moves").glob("*.run"))


@pytest.mark.slow
@pytest.mark.parametrize("step", ["move.committed", "move.packed"])
def test_killed_and_never_asked_again_the_run_ends_in_one_place(
    own: Own, service: SharedRuns, vendor: ModelServer, step: str
) -> None:
    name = f"alone{step.partition('.')[2]}"
    assert own.po("start", PO_TESTING="1", PO_CRASHPOINT=f"{step}:1").returncode == 0
    run = own.submit(name, 12)
    await_rows(vendor, name, 3)
    assert own.po("move", run, "shared").returncode != 0
    assert own.po("start").returncode == 0
    if step == "move.committed":
        check_done_once(service, vendor, run, name, 12)
        return
    until = time.monotonic() + 60
    while own.json("show", run)["state"] != "done":
        assert time.monotonic() < until
        time.sleep(0.2)
    assert asked(vendor, name) == Counter({str(n): 1 for n in range(12)})
    with service.client("alice") as client:
        assert client.get(f"runs/{run}").status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize("step", ["reception.read", "store.record.written", "reception.taken"])
def test_the_service_killed_while_it_takes_a_run_takes_it_once(
    own: Own, service: SharedRuns, vendor: ModelServer, step: str
) -> None:
    name = step.replace(".", "")
    run = own.submit(name, 14)
    await_rows(vendor, name, 3)
    service.kill("hub_runs")
    service.start("hub_runs", PO_TESTING="1", PO_CRASHPOINT=f"{step}:1")
    service.await_answer()
    own.po("move", run, "shared")
    service.running["hub_runs"].wait(60)
    service.start("hub_runs")
    service.await_answer()
    assert own.po("move", run, "shared").returncode == 0
    check_done_once(service, vendor, run, name, 14)


@pytest.mark.slow
def test_refused_for_good_behind_the_commit_the_run_comes_back(
    own: Own, service: SharedRuns, vendor: ModelServer
) -> None:
    """The model was taken from the team between the commit of the move and its end."""
    assert own.po("start", PO_TESTING="1", PO_CRASHPOINT="move.committed:1").returncode == 0
    run = own.submit("back", 10)
    await_rows(vendor, "back", 3)
    assert own.po("move", run, "shared").returncode != 0
    limits = service.folder / "limits.yaml"
    before = limits.read_text()
    limits.write_text(before.replace('"openai:gpt-5-mini"]', '"openai:gpt-5"]'))
    try:
        service.kill("hub")
        service.kill("hub_runs")
        service.start("hub")
        service.start("hub_runs")
        service.await_answer()
        own.po("move", run, "shared")
        until = time.monotonic() + 60
        while own.json("show", run)["state"] != "done":
            assert time.monotonic() < until, own.json("show", run)
            time.sleep(0.2)
    finally:
        limits.write_text(before)
        service.kill("hub")
        service.start("hub")
        service.await_answer()
    assert asked(vendor, "back") == Counter({str(n): 1 for n in range(10)})
    with service.client("alice") as client:
        assert client.get(f"runs/{run}").status_code == 404
