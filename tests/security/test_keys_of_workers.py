"""C5: a worker has the keys of its run alone, and what a task starts has none. Looked at from outside: the environment
and the memory of the real processes."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.orchestrator.workers.spawned_workers import is_spawn
from po_jupyter.testing.model_server import ModelServer
from tests.support.orchestrator import body, orchestrator, wait_for_file, wait_for_state

pytestmark = pytest.mark.integration

# Never whole in this process but as variables: what is looked for must not come with a run's definition.
OTHERS = {
    "ANTHROPIC_API_KEY": "sk-ant-planted-0123456789-other",
    "GEMINI_API_KEY": "AIza-planted-0123456789-other",
    "HF_TOKEN": "hf_planted_0123456789_other",
    "AZURE_OPENAI_API_KEY": "azure-planted-0123456789-other",
    "SEARCH_API_KEY": "search-planted-0123456789-other",
    "PO_SOMETHING_TOKEN": "door-planted-0123456789-other",
}
NEEDED = {
    "AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9/ant",
    "https_proxy": "http://proxy.example:3128",
    "MY_OWN": "mine",
}
LOOK = """
import json, os, subprocess, sys, time

async def inference(ctx):
    config = ctx.config
    answer = (await ctx.llm.chat("hello", model=config["model"])).text if config.get("model") else ""
    child = subprocess.run([sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
                           capture_output=True, text=True, check=True).stdout
    seen = {"environ": dict(os.environ), "child": json.loads(child), "answer": answer}
    if "ready" in config:
        open(config["ready"], "w").write(str(os.getpid()))
        while os.path.exists(config["ready"]):
            time.sleep(0.02)
    return seen
"""


def memory(pid: int) -> Iterator[bytes]:
    """What a process has in memory that it may write to."""
    regions = re.findall(r"^(\w+)-(\w+) rw", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for begin, end in regions:
            with suppress(OSError, ValueError):  # a page of the kernel's
                file.seek(int(begin, 16))
                yield file.read(int(end, 16) - int(begin, 16))


def keys_in(pid: int, keys: dict[str, str]) -> list[str]:
    """The variables whose values stand in the memory or the first environment of a process."""
    everything = [Path(f"/proc/{pid}/environ").read_bytes(), *memory(pid)]
    return [name for name, key in keys.items() if any(key.encode() in part for part in everything)]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer(key="sk-planted-0123456789-of-the-run") as server:
        for name, value in {**OTHERS, **NEEDED}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server


ASK = """
async def inference(ctx):
    return (await ctx.llm.chat("hello", model=CONFIG)).text
"""
LEAK = """
import os

async def ingestion(ctx):
    key = ctx.seed["text"]
    print("printed", key)
    os.write(1, b"past Python " + key.encode())
    ctx.io.write_log("notes.txt", "written " + key)
    ctx.io.write_log("in-two.txt", "in two " + key[:9], append=True)
    ctx.io.write_log("in-two.txt", key[9:] + " pieces", append=True)
    ctx.io.write_log("data.json", {"key": key})
    ctx.io.write_log("raw.bin", b"\\xff" + key.encode())
    return {"returned": key}

def integration(ctx):
    raise ValueError("failed with " + ctx.seed["text"])
"""


def look(**config: Any) -> dict[str, Any]:
    return {"name": "look", "source": LOOK, "config": config, "retry": {"max_attempts": 1}}


async def output(service: RunningOrchestrator, run: str) -> Any:
    view = await wait_for_state(service, run)
    assert view.state == "done", view.error
    return (await service.results.outputs(run, None))["look"]


async def test_a_worker_has_the_keys_of_its_run_alone_and_its_children_have_none(
    tmp_path: Path, model: ModelServer
) -> None:
    """Not in `os.environ`, not in what a task starts, not in its memory, and none at all in the zygote's."""
    ready = tmp_path / "ready"
    async with orchestrator(tmp_path / "po", worker_env=("MY_OWN",)) as service:
        submitted = body(look(model="openai:any", ready=str(ready)))
        view, _ = await service.submissions.submit(submitted, owner="me")
        worker = int(await wait_for_file(ready))
        try:
            zygotes = service.zygotes.pids()
            assert bool(zygotes) != is_spawn(service.settings.worker_start), "spawned workers have none"
            assert keys_in(worker, OTHERS) == [], "keys of others in the worker"
            own = {"OPENAI_API_KEY": model.key}
            for zygote in zygotes:
                assert keys_in(zygote, OTHERS | own) == [], "a zygote forks for every run"
            assert keys_in(worker, own) == ["OPENAI_API_KEY"], "the check can fail"
        finally:
            ready.unlink()
        seen = await output(service, view.id)
    assert model.requests[0].headers["authorization"] == f"Bearer {model.key}"
    for where in ("environ", "child"):
        variables = seen[where]
        assert not {*OTHERS, "OPENAI_API_KEY"} & {*variables}, where
        assert {**NEEDED, "OPENAI_BASE_URL": model.base_url}.items() <= variables.items(), where


@pytest.mark.parametrize(
    ("written", "config"),
    [
        ('"anthropic:any"', {}),
        ('ctx.config["model"]', {"model": "anthropic:any"}),
        ('ctx.seed["model"]', {}),
        ('"anthropic" + ":any"', {}),
    ],
    ids=["in the source", "in the config", "in the seed", "in two pieces"],
)
async def test_a_provider_that_the_run_names_is_asked_with_its_key(
    tmp_path: Path, model: ModelServer, monkeypatch: pytest.MonkeyPatch, written: str, config: dict[str, Any]
) -> None:
    """Wherever the name is written."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", model.root_url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", model.key)
    async with orchestrator(tmp_path) as service:
        submitted = body({**look(**config), "source": ASK.replace("CONFIG", written)})
        submitted["seed"]["data"]["model"] = "anthropic:any"
        view, _ = await service.submissions.submit(submitted, owner="me")
        await output(service, view.id)
    assert model.requests[0].headers["x-api-key"] == model.key


async def test_a_provider_that_the_run_does_not_name_gets_no_key(tmp_path: Path, model: ModelServer) -> None:
    """A library of a task cannot ask for what the run has no use for; the error says what to do."""
    async with orchestrator(tmp_path) as service:
        submitted = body({**look(), "source": ASK.replace("CONFIG", '"anth" + "ropic:any"')})
        view, _ = await service.submissions.submit(submitted, owner="me")
        view = await wait_for_state(service, view.id)
    assert view.state == "failed"
    assert view.error is not None
    assert "this run does not name anthropic" in view.error["message"]
    assert "config" in view.error["hint"]


@pytest.mark.parametrize("ref", ["huggingface:any", "azure:any", "openai:any"])
async def test_what_a_person_needs_still_works(
    tmp_path: Path, model: ModelServer, monkeypatch: pytest.MonkeyPatch, ref: str
) -> None:
    """Keys and addresses whose variables are called otherwise; a stored key; a key that `worker_env` names."""
    monkeypatch.setenv("HUGGINGFACE_BASE_URL", model.base_url)
    monkeypatch.setenv("HF_TOKEN", model.key)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", model.root_url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", model.key)
    monkeypatch.delenv("OPENAI_API_KEY")
    async with orchestrator(tmp_path, worker_env=("SEARCH_API_KEY",)) as service:
        await service.environment.set_key("openai", model.key)
        view, _ = await service.submissions.submit(body(look(model=ref)), owner="me")
        seen = await output(service, view.id)
    assert len(model.requests) == 1
    assert seen["environ"]["SEARCH_API_KEY"] == "********", "there, and not shown"
    assert not {"HF_TOKEN", "AZURE_OPENAI_API_KEY", "OPENAI_API_KEY"} & {*seen["environ"]}
    assert seen["environ"]["AZURE_OPENAI_ENDPOINT"] == model.root_url


async def test_a_cli_agent_gets_its_own_key_and_no_other(
    tmp_path: Path, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only child of a worker that has a key has exactly one."""
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport json, os\n"
        f"open({str(tmp_path / 'seen')!r}, 'w').write(json.dumps(dict(os.environ)))\n"
        "print(json.dumps({'type': 'result', 'subtype': 'success', 'result': 'yes', 'usage': {}}))\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "oauth-planted-0123456789")
    async with orchestrator(tmp_path / "po", cli_agents=True) as service:
        submitted = body(
            look(model="openai:any"),
            {**look(), "name": "ask", "source": ASK.replace("CONFIG", '"claude-cli:any"')},
        )
        view, _ = await service.submissions.submit(submitted, owner="me")
        await output(service, view.id)
    seen = (tmp_path / "seen").read_text()
    assert [
        name for name in {**OTHERS, "OPENAI_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": ""} if name in seen
    ] == ["ANTHROPIC_API_KEY"]


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"])
async def test_a_key_that_the_worker_does_not_have_is_redacted_on_disk_too(
    tmp_path: Path, model: ModelServer, name: str
) -> None:
    """P10: in what is printed, written by `ctx.io.write_log`, returned and raised; the key came with the seed."""
    key = {**OTHERS, "OPENAI_API_KEY": model.key}[name]
    async with orchestrator(tmp_path) as service:
        submitted = body({**look(), "source": LEAK.replace("\\\\", "\\")})
        submitted["seed"]["data"]["text"] = key
        view, _ = await service.submissions.submit(submitted, owner="me")
        view = await wait_for_state(service, view.id)
        assert view.state == "failed"
        assert "failed with ****" in str(view.error)
    folder = tmp_path / "runs" / view.id
    written = {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert {"notes.txt", "in-two.txt", "data.json", "raw.bin", "ingestion.log", "worker.log"} <= {*written}
    assert [file for file, data in written.items() if key.encode() in data] == []
    assert written["in-two.txt"] == b"in two ******** pieces"
    assert written["raw.bin"] == b"\xff********"


@pytest.mark.parametrize("of_rows", [False, True])
async def test_a_key_in_a_prompt_is_taken_out_of_the_answer(
    tmp_path: Path, model: ModelServer, of_rows: bool
) -> None:
    """The model repeats what it was asked: here the run's own key, and one of another provider."""
    model.reply = lambda request, _: str(request)  # all that was sent to it
    task = {"name": "look", "prompt": "Repeat: {{ seed.text }}", "llm": {"model": "openai:any"}}
    async with orchestrator(tmp_path) as service:
        submitted = body({**task, "for_each": "[1]"} if of_rows else task)
        submitted["seed"]["data"]["text"] = f"{model.key} {OTHERS['ANTHROPIC_API_KEY']}"
        view, _ = await service.submissions.submit(submitted, owner="me")
        answer = json.dumps(await output(service, view.id))
    assert "Repeat: " in answer
    assert model.key not in answer and OTHERS["ANTHROPIC_API_KEY"] not in answer
