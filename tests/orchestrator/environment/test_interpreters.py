"""Which Python a run may have, and that it finds the run's modules: known before anything is stored."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, InvalidPipeline
from po_jupyter.orchestrator.environment.interpreters import check_modules, problem_of
from po_jupyter.orchestrator.submission.request import Submission, check_submission
from po_jupyter.orchestrator.workers.zygote_pool import ZygotePool
from tests.support.orchestrator import body, orchestrator, task

pytestmark = pytest.mark.integration


def program(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    return str(path)


def test_only_what_its_own_user_could_have_put_there_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN, Doors: interpreters come from installed kernelspecs or the caller's own kernels."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    mine = program(tmp_path / "venv" / "bin" / "python3.11")
    assert problem_of(sys.executable) is None
    assert problem_of(mine) is None
    assert "no Python" in str(problem_of(program(tmp_path / "tool")))
    assert "no Python at" in str(problem_of("python3"))
    assert "no Python at" in str(problem_of(str(tmp_path / "nowhere" / "python")))

    open_to_all = program(tmp_path / "shared" / "python")
    (tmp_path / "shared").chmod(0o777)
    assert "everybody may write" in str(problem_of(open_to_all))
    linked = tmp_path / "linked" / "python"
    linked.parent.mkdir()
    linked.symlink_to(open_to_all)
    assert "everybody may write" in str(problem_of(str(linked)))

    spec = tmp_path / "jupyter" / "kernels" / "shared" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [open_to_all, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Shared", "language": "python"}))
    assert problem_of(open_to_all) is None, "whoever runs this machine installed it as a kernel"


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="platform: needs root to chown")
def test_the_python_of_another_user_does_not_run(tmp_path: Path) -> None:
    theirs = program(tmp_path / "theirs" / "python")
    os.chown(theirs, 12345, -1)
    assert "belongs to another user" in str(problem_of(theirs))


async def test_a_program_that_is_no_python_is_never_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P11: refused at submit."""

    async def started(self: ZygotePool, interpreter: str) -> None:
        raise AssertionError(interpreter)

    tool = program(tmp_path / "tool")
    async with orchestrator(tmp_path / "data") as service:
        monkeypatch.setattr(ZygotePool, "get", started)
        with pytest.raises(InvalidInput, match="no installed kernelspec"):
            await service.submissions.submit(body(task("one"), interpreter=tool), owner="local")
        assert (await service.runs.page(None))[0] == []


def modules(*tasks: Any) -> dict[str, Any]:
    return {"pipeline": {"name": "p", "tasks": list(tasks)}, "seed": {"name": "s", "data": {}}}


async def test_a_module_that_is_not_there_is_told_at_submit(tmp_path: Path) -> None:
    """P11: nothing is stored; in the run's own directory it is found."""
    (tmp_path / "beside_me.py").write_text("raise RuntimeError('looked at, not imported')\n")
    asked = modules("beside-me", {"name": "other", "task": "nowhere_to_be_found"})
    async with orchestrator(tmp_path / "data") as service:
        with pytest.raises(InvalidPipeline, match="nowhere_to_be_found") as raised:
            await service.submissions.submit({**asked, "cwd": str(tmp_path)}, owner="local")
        assert [v.where for v in raised.value.violations] == ["tasks[1]"]
        assert "%%po_task" in raised.value.hint
        with pytest.raises(InvalidPipeline) as raised:
            await service.submissions.submit(asked, owner="local")
        assert [v.where for v in raised.value.violations] == ["tasks[0]", "tasks[1]"]
        assert (await service.runs.page(None))[0] == []
        assert (await service.submissions.validate(asked, owner="local"))["ok"], (
            "where it will run is not known here"
        )


def test_what_cannot_be_asked_is_left_to_the_worker(tmp_path: Path) -> None:
    submission = Submission.model_validate(modules("nowhere_to_be_found"))
    pipeline, _ = check_submission(submission, lambda name: pytest.fail(name), code_allowed=True, modules=False)
    check_modules(pipeline, program(tmp_path / "python"), None)
