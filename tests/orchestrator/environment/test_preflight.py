"""What is refused before a run starts, and what is not: R2.5, and who may use models that run commands."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Forbidden, InvalidEnvironment, ModelRefused, from_json
from po_jupyter.llm.credentials import keys as llm_keys
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.model.run.view import RunView
from po_jupyter.orchestrator.service import Orchestrator
from po_jupyter.store.disk.store import DiskStore
from tests.support.orchestrator import body, orchestrator, settings, task, until

pytestmark = pytest.mark.integration

KEY = "sk-Zq7TtTb3vRkW9xYp2LmN8cJh5sDf"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(llm_keys, "keyring_backend", lambda: None)


def prompt(name: str, model: str) -> dict[str, Any]:
    return {"name": name, "prompt": "x", "llm": model, "retry": {"max_attempts": 1}}


async def test_one_error_has_everything_and_nothing_was_stored(tmp_path: Path) -> None:
    """R2.5, P11: every violation, each with variable, pipeline, task, and what to type."""
    asked = body(
        prompt("one", "openai:gpt-5-mini"), prompt("two", "anthropic:x"), prompt("three", "codex-cli:x")
    )
    async with orchestrator(tmp_path) as service:
        with pytest.raises(InvalidEnvironment) as raised:
            await service.submissions.submit(asked, owner="local")
        error = raised.value
        assert error.code == "environment"
        assert [v.where for v in error.violations] == [f"tasks[{i}].llm.model" for i in range(3)]
        for text in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "pipeline 'test'", "'two'", "po keys set anthropic",
                     "PO_CLI_AGENTS"):  # fmt: skip
            assert text in error.message
        assert "--skip-validation" in error.hint
        assert error.details["missing"] == [
            {"provider": "openai", "variable": "OPENAI_API_KEY"},
            {"provider": "anthropic", "variable": "ANTHROPIC_API_KEY"},
        ]
        assert (await service.runs.page(None))[0] == []
        again = from_json(json.loads(json.dumps(error.to_json())))
        assert isinstance(again, InvalidEnvironment)
        assert again.violations == error.violations


async def test_what_was_asked_to_start_all_the_same_fails_at_its_call(tmp_path: Path) -> None:
    """R2.5: `--skip-validation`; the fork of such a run is not looked at either."""
    asked = body(task("first"), prompt("second", "openai:gpt-5-mini"), options={"skip_validation": True})
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(asked, owner="local")
        ended = await until(service, view.id)
        assert [t.state for t in ended.tasks] == ["done", "failed"]
        assert ended.tasks[1].error is not None
        assert ended.tasks[1].error["code"] == "model_key"
        assert "po keys set openai" in ended.tasks[1].error["hint"]
        assert ended.tasks[1].error["details"]["variable"] == "OPENAI_API_KEY"
        fork = await service.control.fork(view.id, "local", "second")
        assert (await until(service, fork.id)).state == "failed"
    async with orchestrator(tmp_path, skip_validation=True) as service:
        view, _ = await service.submissions.submit(body(prompt("only", "openai:x")), owner="local")
        assert (await until(service, view.id)).state == "failed"


async def test_a_fork_is_looked_at_like_a_submission(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body(task("first"), task("second")), owner="local")
        await until(service, view.id)
        other = {"name": "test", "tasks": [task("first"), prompt("second", "openai:x")]}
        with pytest.raises(InvalidEnvironment):
            await service.control.fork(view.id, "local", "second", pipeline=other)
        assert len((await service.runs.page(None))[0]) == 1


async def test_validate_and_estimate_say_the_same_as_warnings(tmp_path: Path) -> None:
    """R2.5: nothing is refused there."""
    asked = body(prompt("one", "openai:gpt-5-mini"))
    async with orchestrator(tmp_path) as service:
        for said in (
            await service.submissions.validate({"pipeline": asked["pipeline"]}, owner="local"),
            await service.submissions.validate({k: asked[k] for k in ("pipeline", "seed")}, owner="local"),
            await service.submissions.estimate(asked, owner="local"),
        ):
            (warning,) = said["warnings"]
            assert warning.startswith("pipeline 'test', task 'one': openai needs a key")
        await service.environment.set_key("openai", KEY)
        assert (await service.submissions.validate({"pipeline": asked["pipeline"]}, owner="local"))[
            "warnings"
        ] == []


async def test_a_server_without_the_workers_leaves_it_to_the_one_that_has_them(tmp_path: Path) -> None:
    """DESIGN 5: the holder's environment is what runs get, and only the holder knows it."""
    async with orchestrator(tmp_path):
        follower = Orchestrator(settings(tmp_path))
        second = await follower.start()
        try:
            view, _ = await second.submissions.submit(body(prompt("one", "openai:gpt-5-mini")), owner="local")
            assert (await until(second, view.id)).state == "failed"
        finally:
            await follower.stop()


async def test_a_seed_in_the_folder_is_rejected_with_the_reason(tmp_path: Path) -> None:
    """R2.5, B9: beside the file stands what to type."""
    inbox = tmp_path / "inbox"
    async with orchestrator(tmp_path / "data", inbox_dir=inbox, inbox_stable=0.05, inbox_rescan=0.2) as service:
        await service.pipelines.put("test", body(prompt("one", "openai:gpt-5-mini"))["pipeline"], owner="local")
        (inbox / "pending").mkdir(parents=True, exist_ok=True)
        (inbox / "pending" / "a-seed.json").write_text(
            json.dumps({"name": "a", "pipeline": "test", "data": {}})
        )
        reason = await _reason(inbox)
        assert reason["error"]["code"] == "environment"
        assert "po keys set openai" in reason["error"]["message"]
        assert (await service.runs.page(None))[0] == []


async def _reason(inbox: Path) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while not (found := list((inbox / "rejected").glob("*.reason.json"))):
            await asyncio.sleep(0.05)
        while not (text := found[0].read_text()):
            await asyncio.sleep(0.05)
    return dict(json.loads(text))


# -- CLI agents ---------------------------------------------------------------------------------

AGENT = """#!{python}
import json, sys
sys.stdin.read()
print(json.dumps({{"type": "result", "subtype": "success", "result": "done by an agent", "usage": {{}}}}))
"""
BY_CODE = "async def ingestion(ctx):\n    return (await ctx.llm.chat('x', model='claude-cli:sonnet')).text\n"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program `claude` on the PATH."""
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(AGENT.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def error_of(view: RunView) -> dict[str, Any]:
    assert view.tasks[0].error is not None, view.state
    return view.tasks[0].error


@pytest.mark.usefixtures("agent")
async def test_an_agent_needs_the_scope_at_every_door(tmp_path: Path) -> None:
    """DESIGN, Doors: `code:run` for CLI agents, at submit, fork, resume, restart and requeue."""
    asked = body(prompt("ask", "claude-cli:sonnet"), task("last", fail=str(tmp_path / "ok")))
    async with orchestrator(tmp_path / "data", cli_agents=True) as service:
        with pytest.raises(Forbidden, match="claude-cli:sonnet may run commands"):
            await service.submissions.submit(
                body(prompt("ask", "claude-cli:sonnet")), owner="local", code_allowed=False
            )
        hidden = body({"name": "ask", "prompt": "x", "llm": "fake:echo"})
        hidden["pipeline"]["llm"] = "claude-cli:sonnet"
        with pytest.raises(Forbidden):  # named and not used: what is added while it runs would inherit it
            await service.submissions.submit(hidden, owner="local", code_allowed=False)
        assert (await service.runs.page(None))[0] == []

        view, _ = await service.submissions.submit(asked, owner="local")
        ended = await until(service, view.id)
        assert (ended.state, ended.tasks[0].state) == ("failed", "done")
        assert (await service.results.outputs(view.id, "local"))["ask"] == "done by an agent"
        with pytest.raises(Forbidden, match="code:run"):
            await service.control.resume(view.id, "local", code_allowed=False)
        with pytest.raises(Forbidden, match="code:run"):
            await service.control.restart(view.id, "local", code_allowed=False)
        with pytest.raises(Forbidden):
            await service.control.fork(view.id, "local", "last", code_allowed=False)
        (tmp_path / "ok").touch()
        await service.control.resume(view.id, "local")
        assert (await until(service, view.id)).state == "done"


@pytest.mark.usefixtures("agent")
async def test_an_agent_that_only_the_run_names_needs_the_scope_too(tmp_path: Path) -> None:
    """DESIGN, Doors: `--model` of the run stands for what its pipeline names, whoever goes on with it."""
    asked = body(prompt("ask", "fake:echo"), options={"model": "claude-cli:sonnet"})
    async with orchestrator(tmp_path / "data", cli_agents=True) as service:
        view, _ = await service.submissions.submit(asked, owner="local")
        assert (await until(service, view.id)).state == "done"
        with pytest.raises(Forbidden, match="code:run"):
            await service.control.restart(view.id, "local", code_allowed=False)
        with pytest.raises(Forbidden, match="code:run"):
            await service.control.resume(view.id, "local", from_task="ask", code_allowed=False)


@pytest.mark.usefixtures("agent")
async def test_an_agent_that_code_names_is_refused_when_the_submitter_had_no_scope(tmp_path: Path) -> None:
    """DESIGN, Doors: kept with the run, since what code asks is known only when it asks."""
    (tmp_path / "mine.py").write_text(BY_CODE)
    async with orchestrator(tmp_path / "data", cli_agents=True) as service:
        allowed, _ = await service.submissions.submit(body({"name": "mine", "source": BY_CODE}), owner="local")
        ended = await until(service, allowed.id)
        assert ended.state == "done", error_of(ended)
    with DiskStoreOf(tmp_path / "data") as store:
        assert store.definition(allowed.id)["code_allowed"] is True


async def test_the_worker_keeps_to_what_was_submitted(tmp_path: Path) -> None:
    """The same for a run of somebody without the scope; without the word in its definition, too."""
    for submitter, said in ((False, "lacks the scope code:run"), (True, None)):
        providers = Providers({"PATH": os.environ["PATH"]})
        providers.allow_cli_agents(True, submitter=submitter)
        if said is None:
            assert providers.get("claude-cli:sonnet").name == "claude-cli"
        else:
            with pytest.raises(ModelRefused, match=said):
                providers.get("claude-cli:sonnet")
        await providers.aclose()
    providers = Providers({})
    providers.allow_cli_agents(False, submitter=True)
    with pytest.raises(ModelRefused, match="switched off"):
        providers.get("claude-cli:sonnet")


class DiskStoreOf:
    """A store that is closed again."""

    def __init__(self, data_dir: Path) -> None:
        self._store = DiskStore(data_dir / "store")

    def __enter__(self) -> DiskStore:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


@pytest.mark.usefixtures("agent")
async def test_a_run_of_somebody_without_the_scope_asks_no_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: an installed module (which needs no scope) that names an agent while it runs."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "agent_asker.py").write_text(BY_CODE)
    async with orchestrator(tmp_path / "data", cli_agents=True) as service:
        asked = body({"name": "agent_asker", "retry": {"max_attempts": 1}})
        view, _ = await service.submissions.submit(asked, owner="local", code_allowed=False)
        ended = await until(service, view.id)
        assert ended.state == "failed"
        assert "lacks the scope code:run" in error_of(ended)["message"]
        view, _ = await service.submissions.submit(asked, owner="local", code_allowed=True)
        assert (await until(service, view.id)).state == "done"


def test_the_scope_does_not_change_what_an_idempotency_key_means() -> None:
    """DESIGN, Identity: the same key with the same body is the same run."""
    from po_jupyter.orchestrator.submission.request import check_submission, new_run, read_submission

    asked = read_submission({**body(prompt("a", "fake:echo")), "idempotency_key": "k"}, code_allowed=True)
    pipeline, seed = check_submission(asked, lambda name: pytest.fail(name), code_allowed=True)
    one, two = (new_run(asked, pipeline, seed, "local", code_allowed=allowed) for allowed in (True, False))
    assert one.request_hash == two.request_hash
