"""The routes over the real orchestrator: real store, real workers, real HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from po_jupyter.client.async_client import Endpoint
from po_jupyter.client.client import Client
from po_jupyter.client.http.sse import Parser
from po_jupyter.presentation.run_output import RUN_MIME
from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.acceptance

MAP = """
name: tickets
tasks:
  - name: prepare
    source: |
      def integration(ctx):
          return {"n": len(ctx.seed["rows"])}
  - name: label
    prompt: "Label {{ item }} of {{ tasks.prepare.n }}"
    for_each: "{{ seed.rows }}"
llm: {model: "fake:echo"}
"""

NAP = """
import asyncio
async def integration(ctx):
    await asyncio.sleep(3)
    return 2
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(
        tmp_path_factory.mktemp("real"), orchestrator=None, env={"OPENAI_API_KEY": "sk-never-to-be-seen"}
    )
    yield process
    process.stop()


@pytest.fixture
def http(real: JupyterProcess) -> Iterator[httpx.Client]:
    with real.http() as client:
        yield client


def finished(http: httpx.Client, run: str) -> dict[str, Any]:
    answer = http.get(f"runs/{run}/events", headers={"Accept": "text/event-stream"}, timeout=60)
    assert Parser().feed(answer.content)[-1].event == "end"
    return dict(http.get(f"runs/{run}").json()["run"])


def test_a_map_from_submit_to_its_rows(http: httpx.Client) -> None:
    """HTTP.md: every shape of the main path, from the real parts."""
    seed = {"name": "three", "data": {"rows": ["a", "b", "c"]}}
    answer = http.post("runs", json={"pipeline": MAP, "seed": seed})
    assert answer.status_code == 201, answer.text
    run = finished(http, answer.json()["run"]["id"])
    assert run["state"] == "done", run["error"]
    assert [task["state"] for task in run["tasks"]] == ["done", "done"]
    assert run["tasks"][1]["items"] == {"total": 3, "done": 3, "failed": 0, "in_flight": 0, "reused": 0}
    assert run["usage"]["calls"] == 3
    outputs = http.get(f"runs/{run['id']}/outputs").json()["outputs"]
    assert outputs["prepare"] == {"n": 3}
    assert [row["index"] for row in outputs["label"]] == [0, 1, 2]
    page = http.get(f"runs/{run['id']}/items", params={"task": "label", "limit": 2}).json()
    assert [(row["index"], row["ok"]) for row in page["items"]] == [(0, True), (1, True)]
    rest = http.get(f"runs/{run['id']}/items", params={"task": "label", "cursor": page["next"]}).json()
    assert [row["index"] for row in rest["items"]] == [2]
    assert rest["next"] is None
    calls = http.get(f"runs/{run['id']}/calls", params={"task": "label"}).json()["calls"]
    assert len({str(call["key"]) for call in calls}) == 3
    assert http.get("runs", params={"state": "done"}).json()["runs"][0]["id"] == run["id"]
    events = http.get(f"runs/{run['id']}/events", headers={"Accept": "application/json"}).json()["events"]
    assert [event["offset"] for event in events] == list(range(1, len(events) + 1))
    assert http.delete(f"runs/{run['id']}").status_code == 204


@pytest.mark.parametrize(
    ("pipeline", "seed", "said"),
    [
        ({"name": "t", "tasks": [{"name": "a", "prompt": "x"}, {"name": "a", "prompt": "y"}]}, None, "unique"),
        ({"name": "t", "tasks": [{"name": "a", "prompt": "x", "needs": ["a"]}]}, None, "circle"),
        ({"name": "t", "tasks": [{"name": "a", "prompt": "x", "neds": []}]}, None, "did you mean `needs`"),
        ({"name": "t", "llm": {"model": "nobody:x"}, "tasks": [{"name": "a", "prompt": "x"}]}, None, "nobody"),
        ({"name": "t", "tasks": [{"name": "a", "prompt": "{{ seed.txt }} {{ tasks.b }}"}]}, None, "b"),
        ({"name": "t", "tasks": [{"name": "a", "source": "def f(:\n"}]}, None, "parse"),
        ({"name": "t", "tasks": [{"name": "a", "prompt": "x"}]}, {"data": {}}, "name"),
        ("name: t\ntasks:\n  - name: a\n   prompt: x\n", None, "line"),
        ("nobody-knows-it", None, "nobody-knows-it"),
    ],
)
def test_what_cannot_run_is_refused_with_its_place(
    http: httpx.Client, pipeline: Any, seed: Any, said: str
) -> None:
    """P11 and done-when 8: one clear message, nothing started."""
    before = http.get("runs").json()
    answer = http.post("runs", json={"pipeline": pipeline, "seed": seed or {"name": "s", "data": {}}})
    assert answer.status_code in (400, 404), answer.text
    assert said in answer.json()["error"]["message"]
    assert http.get("runs").json() == before


def test_meta_and_ready_say_who_works(http: httpx.Client, real: JupyterProcess) -> None:
    """HTTP.md."""
    meta = http.get("meta").json()
    assert {"version", "user", "orchestrator", "data_dir", "limits", "providers", "python"} <= set(meta)
    assert meta["orchestrator"]["pid"] == real.process.pid
    assert http.get("ready").json()["ready"] is True


def test_no_error_carries_a_key(http: httpx.Client, real: JupyterProcess) -> None:
    """P10: whatever way it came into a message; nor the server's and the orchestrator's logs."""
    pipeline = {"name": "k", "llm": {"model": "sk-never-to-be-seen:x"}, "tasks": [{"name": "a", "prompt": "x"}]}
    for path in ("runs", "pipelines/validate"):
        answer = http.post(path, json={"pipeline": pipeline, "seed": {"name": "s", "data": {}}})
        assert answer.status_code == 400
        assert "sk-never-to-be-seen" not in answer.text
        assert "********" in answer.text
    for log in (real.log, *(real.data / "logs").glob("*.log")):
        assert "sk-never-to-be-seen" not in log.read_text()
    assert (real.data / "logs" / "orchestrator.log").exists()


def test_gates_are_decided_once(http: httpx.Client) -> None:
    """DESIGN Gates: 200, then 409, also after the end."""
    pipeline = {
        "name": "g",
        "llm": {"model": "fake:echo"},
        "tasks": [{"name": "a", "prompt": "x", "gate": True}],
    }
    run = http.post("runs", json={"pipeline": pipeline, "seed": {"name": "s", "data": {}}}).json()["run"]["id"]
    with http.stream("GET", f"runs/{run}/events") as answer:
        parser = Parser()
        for part in answer.iter_bytes():
            if any(message.event == "run.waiting" for message in parser.feed(part)):
                break
    assert http.get(f"runs/{run}").json()["run"]["gate"]["task"] == "a"
    assert http.post(f"runs/{run}/gate", json={"decision": "maybe"}).status_code == 400
    assert http.post(f"runs/{run}/gate", json={"decision": "approve", "note": "fine"}).status_code == 200
    assert http.post(f"runs/{run}/gate", json={"decision": "reject"}).status_code == 409
    assert finished(http, run)["state"] == "done"
    assert http.post(f"runs/{run}/gate", json={"decision": "approve"}).status_code == 409


def test_the_servers_end_leaves_no_process_and_loses_no_run(tmp_path: Path) -> None:
    """P1, DESIGN section 5: SIGTERM drains; the next server goes on with the run."""
    nap = {"name": "n", "tasks": [
        {"name": "first", "source": "def integration(ctx):\n    return 1"},
        {"name": "nap", "source": NAP},
    ]}  # fmt: skip
    first = JupyterProcess(tmp_path, orchestrator=None)
    with first.http() as http:
        run = http.post("runs", json={"pipeline": nap, "seed": {"name": "s", "data": {}}}).json()["run"]["id"]
        with http.stream("GET", f"runs/{run}/events") as answer:
            parser = Parser()
            for part in answer.iter_bytes():
                if any(m.event == "task.done" for m in parser.feed(part)):
                    break
    family = psutil.Process(first.process.pid).children(recursive=True)
    assert family
    first.stop()
    _, alive = psutil.wait_procs(family, 10)
    assert alive == []
    second = JupyterProcess(tmp_path, orchestrator=None)
    try:
        with second.http() as http:
            view = finished(http, run)
            assert view["state"] == "done"
            assert http.get(f"runs/{run}/outputs").json()["outputs"] == {"first": 1, "nap": 2}
    finally:
        second.stop()


def test_a_start_is_not_delayed(tmp_path: Path) -> None:
    """P9: routes answer while the orchestrator is still starting."""
    process = JupyterProcess(tmp_path, orchestrator="tests.support.slow_orchestrator.SlowOrchestrator")
    try:
        with process.http() as http:
            started = time.monotonic()
            assert http.get("health").status_code == 200
            assert http.get("ready").status_code == 503
            assert time.monotonic() - started < 1
            assert http.get("meta").status_code == 200  # waits for it
            assert http.get("ready").status_code == 200
    finally:
        process.stop()


def test_a_run_is_shown_without_a_large_seed_when_it_is_wanted_brief(http: httpx.Client) -> None:
    """A page of a run looks at it again and again; the rows of its seed are not sent each time."""
    pipeline = {"name": "big", "llm": {"model": "fake:echo"}, "tasks": [{"name": "a", "prompt": "one"}]}
    seed = {"name": "s", "data": {"rows": ["x" * 1000] * 100}}
    run = http.post("runs", json={"pipeline": pipeline, "seed": seed}).json()["run"]["id"]
    finished(http, run)
    brief = http.get(f"runs/{run}", params={"brief": 1})
    assert len(brief.content) < 5_000 < 100_000 < len(http.get(f"runs/{run}").content)
    assert brief.json()["run"]["tasks"] == http.get(f"runs/{run}").json()["run"]["tasks"]


def test_a_run_shows_its_pipeline_as_submitted_and_what_waits_for_what(http: httpx.Client) -> None:
    """The graph of a run, and what a fork with another prompt begins with."""
    pipeline = {
        "name": "graph",
        "llm": {"model": "fake:echo"},
        "tasks": [
            {"name": "a", "prompt": "one"},
            {"name": "b", "prompt": "two"},
            {"name": "c", "prompt": "three", "needs": ["a"]},
            {"name": "d", "prompt": "four", "needs": ["b", "c"]},
        ],
    }
    body = {
        "pipeline": pipeline,
        "seed": {"name": "s", "data": {}},
        "options": {"limit": 10, "model": "fake:echo"},
    }
    run = http.post("runs", json=body).json()["run"]["id"]
    shown = http.get(f"runs/{run}/pipeline").json()
    assert shown["options"] == {"limit": 10, "model": "fake:echo"}
    assert shown["pipeline"]["tasks"] == pipeline["tasks"]
    assert shown["needs"] == {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
    finished(http, run)
    shown["pipeline"]["tasks"][3]["prompt"] = "five"
    forked = http.post(f"runs/{run}/fork", json={"from_task": "d", "pipeline": shown["pipeline"]})
    assert forked.status_code == 201, forked.text
    assert (
        "five"
        in http.get(f"runs/{finished(http, forked.json()['run']['id'])['id']}/outputs").json()["outputs"]["d"]
    )
    assert http.get("runs/nothing/pipeline").status_code == 404


WRITES = """
def integration(ctx):
    ctx.io.write_artifact("report/größe.html", "<script>alert(1)</script>")
    ctx.io.write_artifact("a.json", {"n": 1})
"""


def test_artifacts_are_listed_and_sent_as_files_to_save(real: JupyterProcess, http: httpx.Client) -> None:
    """B4, P6: what a model may have written is never shown by a browser."""
    pipeline = {"name": "files", "tasks": [{"name": "write", "source": WRITES}]}
    run = http.post("runs", json={"pipeline": pipeline, "seed": {"name": "s", "data": {}}}).json()["run"]["id"]
    assert finished(http, run)["state"] == "done"
    listed = http.get(f"runs/{run}/artifacts").json()["artifacts"]
    assert [(a["name"], a["task"], a["bytes"]) for a in listed] == [
        ("a.json", "write", 12),
        ("report/größe.html", "write", 25),
    ]
    assert Path(listed[1]["path"]).read_bytes() == b"<script>alert(1)</script>"
    for name in ("report/größe.html", "report%2Fgr%C3%B6%C3%9Fe.html"):
        answer = http.get(f"runs/{run}/artifacts/{name}")
        assert answer.content == b"<script>alert(1)</script>"
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''gr%C3%B6")
        assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("b.json", "..%2F..%2Fpo.yaml", "../../store/documents/cache.db", "write/1-1/a.json", "%00"):
        answer = http.get(f"runs/{run}/artifacts/{name}")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"
    missing = http.get(f"runs/{run}/artifacts/a.jso").json()["error"]["message"]
    assert "did you mean `a.json`?" in missing

    import po_jupyter as po

    client = po.connect(real.url, real.token)
    try:
        mine = client.run(run)
        assert [a["name"] for a in mine.artifacts()] == ["a.json", "report/größe.html"]
        assert mine.artifact("report/größe.html") == b"<script>alert(1)</script>"
    finally:
        client.close()


FILES = """
name: files
tasks:
  - name: write
    source: |
      def integration(ctx):
          print("from the stage")
          ctx.io.write_artifact("page/evil é.html", "<script>alert(1)</script>")
          ctx.io.write_artifact("big.bin", b"x" * 3_000_000)
"""


def test_logs_of_stages(http: httpx.Client) -> None:
    """B5, P6: what a stage printed; an artifact is never shown by a browser, even if it is opened."""
    run = http.post("runs", json={"pipeline": FILES, "seed": {"name": "s", "data": {}}}).json()["run"]
    assert finished(http, run["id"])["state"] == "done"
    page = http.get(f"runs/{run['id']}/artifacts/page/evil%20%C3%A9.html")
    assert "sandbox" in page.headers["content-security-policy"]
    logs = http.get(f"runs/{run['id']}/logs", params={"task": "write"}).json()["logs"]
    assert [(log["stage"], log["text"]) for log in logs] == [("integration", "from the stage\n")]
    assert http.get(f"runs/{run['id']}/logs", params={"task": "wrote"}).status_code == 404


def test_an_estimate_starts_nothing(http: httpx.Client) -> None:
    """G1."""
    before = len(http.get("runs").json()["runs"])
    body = {"pipeline": MAP, "seed": {"name": "s", "data": {"rows": [1, 2, 3]}}}
    said = http.post("runs/estimate", json=body).json()
    assert said["estimated"] is True
    assert said["calls"] == 0
    assert any("Python" in what for what in said["unknown"])
    assert len(http.get("runs").json()["runs"]) == before
    assert http.post("runs/estimate", json={"pipeline": MAP}).status_code == 400


def test_a_request_keeps_its_id(http: httpx.Client, real: JupyterProcess) -> None:
    """R2.4: in the answer, in the run's first event, in the log; an id that is none is replaced."""
    headers = {"X-Request-Id": "my-cell-7"}
    body = {"pipeline": FILES, "seed": {"name": "s", "data": {}}}
    answer = http.post("runs", json=body, headers=headers)
    assert answer.headers["x-request-id"] == "my-cell-7"
    run = answer.json()["run"]["id"]
    events = http.get(f"runs/{run}/events", headers={"Accept": "application/json"}).json()["events"]
    assert events[0]["data"]["request"] == "my-cell-7"
    finished(http, run)
    log = next(Path(http.get("meta").json()["data_dir"]).glob("logs/orchestrator.log")).read_text()
    assert '"request": "my-cell-7"' in log
    assert http.get("health", headers={"X-Request-Id": "<b>"}).headers["x-request-id"] != "<b>"
    assert http.get("nowhere", headers=headers).headers["x-request-id"] == "my-cell-7"


def test_the_output_of_a_cell_is_true_whoever_asks_for_it(http: httpx.Client) -> None:
    """What JupyterLab puts into the notebook when no kernel is there to do it: as the run stands, small, and without
    its seed."""
    seed = {"name": "three", "data": {"rows": ["a", "b", "secret-of-the-seed"]}}
    run = finished(http, http.post("runs", json={"pipeline": MAP, "seed": seed}).json()["run"]["id"])
    data = http.get(f"runs/{run['id'][-8:]}/display").json()["data"]
    assert set(data) == {RUN_MIME, "text/html", "text/plain"}
    assert data[RUN_MIME]["run"] == run["id"]
    assert data[RUN_MIME]["view"]["state"] == "done"
    assert [label for label, _ in data[RUN_MIME]["results"]] == ["row 0", "row 1", "row 2"]
    assert "2 of 2 tasks done" in data["text/plain"] and "✓ done" in data["text/html"]
    assert http.get("runs/nothing/display").status_code == 404


def test_a_run_is_looked_into_by_rows_calls_course_and_cost(http: httpx.Client) -> None:
    """The shapes of a page about one run, from the real parts."""
    seed = {"name": "three", "data": {"rows": ["a", "b", "c"]}}
    fresh = {"fresh": True}  # else the rows of a run before it are taken over, without a call
    run = http.post("runs", json={"pipeline": MAP, "seed": seed, "options": fresh}).json()["run"]["id"]
    assert finished(http, run)["state"] == "done"
    rows = http.get(f"runs/{run}/tasks/label/rows", params={"sort": "output", "desc": 1, "limit": 2}).json()
    assert [(row["index"], row["input"], row["state"]) for row in rows["rows"]] == [
        (2, "c", "done"),
        (1, "b", "done"),
    ]
    assert (rows["total"], rows["matching"], rows["next"]) == (3, 3, 2)
    assert http.get(f"runs/{run}/tasks/label/rows/1").json()["row"]["input"] == "b"
    calls = http.get(f"runs/{run}/model-calls", params={"row": 1}).json()["calls"]
    call = http.get(f"runs/{run}/model-calls/{calls[0]['n']}").json()["call"]
    assert (call["messages"], call["exact"]) == ([{"role": "user", "content": "Label b of 3"}], True)
    spans = http.get(f"runs/{run}/timeline").json()["spans"]
    assert {span["task"] for span in spans} == {"prepare", "label"}
    total = http.get(f"runs/{run}/spending").json()["total"]
    assert total["calls"] + total["cached"] == 3
    brief = http.get("runs", params={"q": run[-8:], "brief": 1}).json()["runs"]
    assert [(found["id"], found["seed"]) for found in brief] == [(run, {})]
    assert http.get("runs", params={"until": "2020-01-01"}).json()["runs"] == []
    assert run not in [found["id"] for found in http.get("runs/attention").json()["runs"]]


def test_a_run_of_the_client_is_looked_into(http: httpx.Client, real: JupyterProcess) -> None:
    seed = {"name": "three", "data": {"rows": ["x", "y", "z"]}}
    name = http.post("runs", json={"pipeline": MAP, "seed": seed}).json()["run"]["id"]
    assert finished(http, name)["state"] == "done"
    with closing(Client(Endpoint(real.url, real.token))) as client:
        run = client.run(name)
        assert [row["input"] for row in run.rows("label", sort="output", desc=True, limit=2)] == ["z", "y"]
        assert [row["index"] for row in run.rows("label", q="y of", state="done")] == [1]
        assert run.row("label", 2)["input"] == "z"
        (call,) = run.model_calls("label", row=1)
        assert run.model_call(call["n"])["messages"] == [{"role": "user", "content": "Label y of 3"}]
        inspection = client.aio.inspection
        assert {span["task"] for span in client.call(inspection.timeline(name))["spans"]} == {
            "prepare",
            "label",
        }
        assert client.call(inspection.spending(name))["total"]["tokens"] >= 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("runs?since=yesterday", 400), ("runs?until=2026-13-01", 400), ("runs?q=" + "x" * 300, 400),
        ("runs/0000/tasks/label/rows", 404), ("runs/0000/timeline", 404), ("runs/0000/spending", 404),
        ("runs/0000/model-calls/x", 404), ("runs/0000/tasks/label/rows/-1", 404),
        ("runs/0000/tasks/label/rows?sort=colour", 400), ("runs/0000/tasks/label/rows?limit=501", 400),
        ("runs/0000/tasks/label/rows?start=-1", 400), ("runs/0000/model-calls?limit=0", 400),
        ("runs/0000/model-calls?state=nowhere", 400),
    ],
)  # fmt: skip
def test_wrong_questions_about_runs_are_refused(http: httpx.Client, path: str, status: int) -> None:
    answer = http.get(path)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
