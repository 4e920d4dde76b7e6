"""`%%po_task --try`: stages run in the kernel as in a worker."""

from __future__ import annotations

import re

import pytest

from tests.support.kernel import Notebook


def test_try_runs_the_stages_here(notebook: Notebook) -> None:
    text, _ = notebook.cell(
        """%%po_task extract --try {"rows": [1, 2]}
def ingestion(ctx):
    ctx.io.write_artifact("a.json", ctx.seed)
    return ctx.seed["rows"]
def parsing(ctx):
    return {"n": len(ctx.data["ingestion"]), "again": ctx.io.read_artifact("a.json")}
"""
    )
    assert re.search(r"ingestion +\d\.\d s +\[1, 2\]", text)
    assert '{"n": 2, "again": {"rows": [1, 2]}}' in text


def test_try_refines_as_a_worker_does(notebook: Notebook) -> None:
    """B2."""
    text, _ = notebook.cell(
        """%%po_task x --try {}
def inference(ctx):
    return ctx.meta["round"]
def validate_quality(ctx):
    assert ctx.output == 1, "not yet"
"""
    )
    assert len(re.findall("inference +0", text)) == 2


def test_try_runs_async_stages(notebook: Notebook) -> None:
    text, _ = notebook.cell(
        """%%po_task x --try {}
import asyncio
async def inference(ctx):
    await asyncio.sleep(0.01)
    return 'slept'
"""
    )
    assert "slept" in text


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (
            "def parsing(ctx): return 1 / 0",
            ["parsing raised ZeroDivisionError: division by zero", "<po_task x>"],
        ),
        ("def parsing(ctx): return object()", ["parsing returned something that is not JSON"]),
        ("def parsing(ctx): return ctx.llm.chat('hi')", ["ctx.llm is not there with --try"]),
        ("import nothing_here\ndef parsing(ctx): return 1", ["its code cannot be loaded: ModuleNotFoundError"]),
    ],
)
def test_try_says_what_broke(notebook: Notebook, body: str, messages: list[str]) -> None:
    said = notebook.error("%%po_task x --try {}\n" + body)
    for message in messages:
        assert message in said
    assert "site-packages" not in said
