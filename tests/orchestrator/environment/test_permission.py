"""The one question before whatever starts a run: what of a pipeline needs the scope `code:run`."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import Forbidden
from po_jupyter.llm import specs
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.orchestrator.environment.permission import check_may_run

PROMPT = {"name": "a", "prompt": "x", "llm": "fake:echo"}


def objection(task: dict[str, Any], **options: Any) -> str:
    """The message of the refusal, "" when there is none."""
    pipeline = validate_pipeline({"name": "p", "tasks": [task]})
    check_may_run(pipeline, Settings(), code_allowed=True, **options)
    try:
        check_may_run(pipeline, Settings(), code_allowed=False, **options)
    except Forbidden as refusal:
        error = refusal
    else:
        return ""
    assert error.details == {"scope": "code:run"}
    return error.message


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (PROMPT, {}, ""),
        ({"name": "json"}, {}, ""),  # an installed module: whoever installs it decides
        (PROMPT, {"cwd": "/old", "interpreter": "/old/python"}, ""),  # runs of before; nothing uses them
        ({"name": "json"}, {"cwd": "/mine"}, "cwd"),
        ({"name": "json"}, {"interpreter": "/mine/python"}, "interpreter"),
        ({"name": "a", "source": "x = 1"}, {}, "source"),
        ({**PROMPT, "output": {}, "output_type": "Answer = int"}, {}, "output_type"),
        ({**PROMPT, "llm": "codex-cli:default"}, {}, "codex-cli:default"),
        (PROMPT, {"model": "claude-cli:sonnet"}, "claude-cli:sonnet"),
        # The answer to them would show which files there are.
        ({**PROMPT, "llm": "local:/etc/passwd"}, {}, "local:/etc/passwd is a file"),
        (PROMPT, {"model": "local:~/secret.gguf"}, "secret.gguf"),
        (PROMPT, {"model": "local:here.gguf"}, "here.gguf"),
        (PROMPT, {"model": "local:smollm2-135m"}, ""),
    ],
)
def test_what_needs_the_scope(task: dict[str, Any], options: dict[str, Any], message: str) -> None:
    """C1, DESIGN Doors."""
    refusal = objection(task, **options)
    assert message in refusal and bool(message) == bool(refusal)


def test_a_file_that_the_administrator_chose_is_everybodys() -> None:
    pipeline = validate_pipeline({"name": "p", "tasks": [{"name": "a", "prompt": "x"}]})
    check_may_run(pipeline, Settings(default_model="local:/models/ours.gguf"), code_allowed=False)


class _Entry:
    name = "mine"

    def __init__(self, loaded: Any) -> None:
        self._loaded = loaded

    def load(self) -> Any:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.mark.parametrize(
    ("loaded", "needs"),
    [
        (specs.Spec("mine", "x:y", runs_code=True), True),
        (specs.Spec("mine", "x:y"), False),
        (lambda context: None, False),
        (ImportError("broken"), True),
    ],
    ids=["runs code", "only asks", "a factory", "broken"],
)
def test_a_plugin_says_itself_whether_it_runs_commands(
    loaded: Any, needs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1: its name alone says nothing, so its package is asked."""
    monkeypatch.setattr(specs, "entry_points", lambda **_: [_Entry(loaded)])
    for cache in (specs.specs, specs.spec_of):
        cache.cache_clear()
    try:
        assert bool(objection({**PROMPT, "llm": "mine:model"})) is needs
    finally:
        monkeypatch.undo()
        for cache in (specs.specs, specs.spec_of):
            cache.cache_clear()
