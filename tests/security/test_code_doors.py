"""C1: nothing runs code without the scope `code:run`, whoever wrote or chose it; real server, real workers."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.jupyter_process import JupyterProcess
from tests.support.two_tokens import ALL, NO_CODE

pytestmark = pytest.mark.acceptance

ENDED = ("done", "failed", "cancelled", "dead")
SEED = {"name": "s", "data": {"text": "x"}}
CODE = {"name": "count", "source": "def integration(ctx):\n    return 1\n"}
FAILS = {
    "name": "count",
    "source": "def integration(ctx):\n    raise ValueError('no')\n",
    "retry": {"max_attempts": 1},
}
PROMPT = {"name": "say", "prompt": "Say {{ seed.text }}", "llm": "fake:echo"}
CLASS = {**PROMPT, "name": "judged", "output": {"type": "integer"}, "output_type": "Answer = int"}
AGENT = {**PROMPT, "name": "agent", "llm": "claude-cli:sonnet"}
PLANTED = "import os\nopen({log!r}, 'a').write(__name__ + ' ' + ' '.join(os.environ) + '\\n')\n"


def pipeline(*tasks: dict[str, Any], name: str = "p") -> dict[str, Any]:
    return {"name": name, "tasks": list(tasks)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    folder = tmp_path_factory.mktemp("doors")
    process = JupyterProcess(
        folder,
        orchestrator=None,
        token=ALL,
        args=(
            "--ServerApp.identity_provider_class=tests.support.two_tokens.OnePerson",
            "--ServerApp.authorizer_class=tests.support.two_tokens.ByToken",
        ),
        env={
            "PO_CLI_AGENTS": "true",
            "OPENAI_API_KEY": "sk-to-be-stolen",
        },
    )
    yield process
    process.stop()


@pytest.fixture
def able(server: JupyterProcess) -> Iterator[httpx.Client]:
    """Somebody with all scopes."""
    with server.http(ALL) as client:
        yield client


@pytest.fixture
def unable(server: JupyterProcess) -> Iterator[httpx.Client]:
    """The same person, by a token without `code:run`."""
    with server.http(NO_CODE) as client:
        yield client


def ended(http: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code in (200, 201), answer.text
    run, until = answer.json()["run"]["id"], time.monotonic() + 40
    while (view := http.get(f"runs/{run}").json()["run"])["state"] not in ENDED:
        assert time.monotonic() < until, view
        time.sleep(0.05)
    return dict(view)


def refused(answer: httpx.Response) -> bool:
    if answer.status_code != 403:
        return False
    assert answer.json()["error"]["details"] == {"scope": "code:run"}
    return True


@pytest.mark.parametrize("task", [CODE, CLASS, AGENT], ids=["source", "output_type", "agent"])
def test_no_route_starts_what_runs_code(able: httpx.Client, unable: httpx.Client, task: dict[str, Any]) -> None:
    """Submit, estimate, a registered pipeline, fork with a definition: each asks the same question."""
    definition = pipeline(task, name=f"door-{task['name']}")
    assert refused(unable.post("runs", json={"pipeline": definition, "seed": SEED}))
    assert refused(unable.post("runs/estimate", json={"pipeline": definition, "seed": SEED}))
    assert refused(unable.put(f"pipelines/{definition['name']}", json=definition))
    assert able.put(f"pipelines/{definition['name']}", json=definition).status_code == 201
    assert refused(unable.post("runs", json={"pipeline": definition["name"], "seed": SEED}))
    assert refused(unable.post("runs", json={"seed": {**SEED, "pipeline": definition["name"]}}))
    plain = ended(unable, unable.post("runs", json={"pipeline": pipeline(PROMPT), "seed": SEED}))
    body = {"from_task": task["name"], "pipeline": definition}
    assert refused(unable.post(f"runs/{plain['id']}/fork", json=body))


def test_a_model_of_the_run_is_asked_about_too(unable: httpx.Client) -> None:
    body = {"pipeline": pipeline(PROMPT), "seed": SEED, "options": {"model": "claude-cli:sonnet"}}
    assert refused(unable.post("runs", json=body))
    assert refused(unable.post("runs/estimate", json=body))


def test_going_on_with_a_run_runs_its_code(able: httpx.Client, unable: httpx.Client) -> None:
    """Restart, resume, requeue and fork, whoever wrote the code: `POST runs/ID/restart` ran it without the scope."""
    done = ended(able, able.post("runs", json={"pipeline": pipeline(CODE), "seed": SEED}))
    failed = ended(able, able.post("runs", json={"pipeline": pipeline(FAILS), "seed": SEED}))
    assert (done["state"], failed["state"]) == ("done", "failed")
    for path, body in (
        (f"runs/{done['id']}/restart", {}),
        (f"runs/{done['id']}/restart", {"task": "count", "only": True}),
        (f"runs/{done['id']}/fork", {"from_task": "count"}),
        (f"runs/{failed['id']}/resume", {}),
        (f"runs/{failed['id']}/resume", {"from_task": "count"}),
    ):
        assert refused(unable.post(path, json=body)), path
        assert not refused(able.post(path, json=body)), path


def test_nobody_without_the_scope_chooses_a_directory_or_an_interpreter(
    server: JupyterProcess, unable: httpx.Client, tmp_path: Path
) -> None:
    """A prompt-only pipeline with `cwd` and a planted certifi.py ran it in the worker, which has every key."""
    for choice in ({"cwd": str(tmp_path)}, {"interpreter": sys.executable}):
        assert refused(unable.post("runs", json={"pipeline": pipeline(PROMPT), "seed": SEED, **choice}))


def test_a_file_in_the_directory_stands_in_for_no_module(able: httpx.Client, tmp_path: Path) -> None:
    """Neither for prompts, which have no directory, nor for Python, which finds its own modules there."""
    log = tmp_path / "ran"
    work = tmp_path / "work"
    work.mkdir()
    for name in (
        "certifi",
        "httpx",
        "ssl",
        "sniffio",
        "regex",
        "numpy",
        "jsonschema",
        "genai_prices",
        "email",
        "idna",
    ):
        (work / f"{name}.py").write_text(PLANTED.format(log=str(log)))
    (work / "beside.py").write_text("import os\n\ndef integration(ctx):\n    return os.getcwd()\n")
    asks = {**PROMPT, "llm": "openai:gpt-5-mini", "retry": {"max_attempts": 1}}
    body = {"seed": SEED, "cwd": str(work), "options": {"skip_validation": True}}
    prompts = ended(
        able, able.post("runs", json={**body, "pipeline": pipeline(PROMPT, asks | {"name": "asks"})})
    )
    assert prompts["tasks"][0]["state"] == "done"
    assert not log.exists(), log.read_text()
    python = ended(able, able.post("runs", json={**body, "pipeline": pipeline({"name": "beside"}, PROMPT)}))
    assert python["state"] == "done", python
    assert able.get(f"runs/{python['id']}/outputs").json()["outputs"]["beside"] == str(work)
    assert not log.exists(), log.read_text()


def test_a_pipeline_is_registered_as_it_could_be_run(able: httpx.Client, unable: httpx.Client) -> None:
    """Others run it by its name: a definition of the same name would have had its code run by the next of them."""
    assert able.put("pipelines/nightly", json=pipeline(PROMPT, name="nightly")).status_code == 201
    assert refused(unable.put("pipelines/nightly", json=pipeline(CODE, name="nightly")))
    assert (
        unable.put("pipelines/nightly", json=pipeline({**PROMPT, "prompt": "x"}, name="nightly")).status_code
        == 200
    )
