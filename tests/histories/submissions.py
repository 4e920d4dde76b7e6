"""What is submitted for a recording: small pipelines, each of which comes to stand in another state."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.histories import opening

LLM = {"model": "openai:gpt-4o-mini", "max_tokens": 50, "retry": {"max_attempts": 2, "initial_delay": 0.05}}
RETRY = {"max_attempts": 2, "initial_delay": 0.05, "max_delay": 0.1}
ONCE = {"max_attempts": 1}
LABEL = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}

REPORT = """
def integration(ctx):
    ctx.io.write_artifact("report.json", {"labels": len(ctx.tasks["rows"])})
    ctx.io.write_artifact("notes/plain.txt", "written by " + ctx.meta["task"])
    ctx.io.write_log("steps.log", "one step")
    print("said to nobody")
    return {"rows": [row["output"] for row in ctx.tasks["rows"]], "attempt": ctx.meta["attempt"]}
"""
LARGE = """
def integration(ctx):
    return ["line %d of a large output" % n for n in range(5000)]
"""
RAISES = """
def integration(ctx):
    if ctx.meta["attempt"] <= 2:
        raise ValueError("not before the third attempt")
    return {"attempt": ctx.meta["attempt"]}
"""
CRASHES = """
import os, signal, time

def integration(ctx):
    if ctx.meta["attempt"] == 1:
        time.sleep(0.2)  # that the task started is durable by then
        os.kill(os.getpid(), signal.SIGKILL)
    return {"attempt": ctx.meta["attempt"]}
"""
SLEEPS = """
import asyncio

async def integration(ctx):
    if ctx.meta["attempt"] == 1:
        await asyncio.sleep(600)
    return {"attempt": ctx.meta["attempt"]}
"""
DIRECTS = """
def integration(ctx):
    ctx.control.add({"name": "added", "prompt": "directed: added after {{ tasks.plan }}"})
    ctx.control.skip("never", "there is nothing to do")
    return "the plan"
"""
DRAFTS = """
def integration(ctx):
    ctx.io.write_artifact("draft.md", ctx.tasks["first"])
    return "draft"
"""
TWO_CALLS = """
async def integration(ctx):
    first = await ctx.llm.complete("killed-between-calls: one")
    second = await ctx.llm.complete("killed-between-calls: two (no answer)")
    return [first, second]
"""


def prompt(label: str, name: str, text: str = "", **more: Any) -> dict[str, Any]:
    """A prompt task. What it asks begins with the label of its run, so that the provider's log can be sorted."""
    return {"name": name, "prompt": f"{label}: {text or name}", "retry": ONCE, **more}


def code(name: str, source: str, **more: Any) -> dict[str, Any]:
    """A Python task."""
    return {"name": name, "source": source, "retry": ONCE, **more}


def body(label: str, *tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A `POST runs` body."""
    seed = more.pop("data", {"text": "seed of the run"})
    pipeline = {"name": label, "llm": more.pop("llm", LLM), "tasks": list(tasks)}
    return {"pipeline": pipeline, "seed": {"name": label, "data": seed}, **more}


DONE = (
    "a registered pipeline with an idempotency key: a structured answer that had to be asked for twice, a map over a "
    "file of rows, a large output, artifacts; goes on as a fork from its last task"
)


def tickets() -> tuple[dict[str, Any], bytes]:
    """The pipeline that gets registered, and the file of its rows."""
    pipeline = body(
        "tickets",
        prompt("done", "label", "(once wrong) {{ seed.text }}", output=LABEL),
        prompt(
            "done", "rows", "row {{ item.i }} {{ item.text }}", for_each="{{ seed.rows }}", max_concurrency=2
        ),
        code("large", LARGE),
        code("report", REPORT, needs=["rows", "large"]),
    )["pipeline"]
    return pipeline, b"".join(json.dumps({"i": i, "text": "x" * 40}).encode() + b"\n" for i in range(6))


def ended() -> dict[str, tuple[str, dict[str, Any], str, list[dict[str, Any]]]]:
    """By label: what it is, its submission, the state that it comes to stand in, and the steps that go on from it."""

    def after_first(label: str, *tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
        return body(label, prompt(label, "first"), *tasks, **more)

    draft = code("draft", DRAFTS, gate={"message": "Look before we send", "artifacts": ["draft.md"]})
    # What depends on the rows asks something new once the failed one is there: nothing is to be asked for twice.
    good = "after {{ tasks.rows | selectattr('ok') | list | length }} good rows"
    partial = body(
        "partial",
        prompt("partial", "rows", "{{ item }}", for_each="{{ seed.rows }}", max_concurrency=1),
        prompt("partial", "after", good),
        data={"rows": ["zero", "one", "two (refused)", "three"]},
    )
    budget = body(
        "budget",
        prompt("budget", "first", "one (costs)"),
        prompt("budget", "second", "two (costs)"),
        budget={"tokens": 100},
    )
    directed = body("directed", code("plan", DIRECTS), prompt("directed", "never"), prompt("directed", "last"))
    overloaded, third = prompt("failed", "second", "(overloaded)"), prompt("failed", "third")
    return {
        "failed": (
            "the model had no answer after all retries; it has one now",
            after_first("failed", overloaded, third),
            "failed",
            [{"resume": {}}],
        ),
        "raised": (
            "Python code that raised in both of its attempts",
            after_first("raised", code("second", RAISES, retry=RETRY)),
            "failed",
            [{"resume": {}}],
        ),
        "gate": (
            "waits for a decision",
            after_first("gate", draft, prompt("gate", "send")),
            "waiting",
            [{"approve": True}],
        ),
        "rejected": (
            "its gate was rejected; asked again, it is approved",
            after_first("rejected", draft, prompt("rejected", "send")),
            "cancelled",
            [{"resume": {}}, {"approve": True}],
        ),
        "partial": ("done, with a row that failed", partial, "done", [{"resume": {"only_failed": True}}]),
        "dead": (
            "its worker was killed in each try: a dead letter",
            after_first("dead", code("second", CRASHES)),
            "dead",
            [{"requeue": True}],
        ),
        "budget": (
            "stopped by its budget of tokens",
            budget,
            "failed",
            [{"resume": {"budget": {"tokens": 10_000}}}],
        ),
        "cancelled": (
            "cancelled in the middle of its second task",
            after_first("cancelled", code("second", SLEEPS)),
            "cancelled",
            [{"resume": {}}],
        ),
        "directed": (
            "a task added another one and skipped one; its last task was restarted",
            directed,
            "done",
            [],
        ),
    }


def provider() -> Callable[[dict[str, Any], int], Any]:
    """Answers by what the prompt says of itself, anything else by its echo."""
    wrong: set[str] = set()

    def reply(asked: dict[str, Any], n: int) -> opening.Reply:
        text = opening.last_text(asked)
        if "(no answer)" in text:
            return opening.Reply(latency=3600.0)
        if "(refused)" in text:
            return opening.Reply(status=400, error="the request is refused")
        if "(overloaded)" in text:
            return opening.Reply(status=500, error="try again later")
        if "(once wrong)" in text and text not in wrong:
            wrong.add(text)
            return opening.Reply("it is a bug, I think")
        if "(costs)" in text:
            return opening.Reply(
                "paid", usage={"prompt_tokens": 30, "completion_tokens": 30, "total_tokens": 60}
            )
        return opening.Reply()

    return reply


def killed() -> dict[str, tuple[str, dict[str, Any]]]:
    """What is in the middle of something when everything is killed, in the order of submission."""
    batch = prompt("batch", "rows", "{{ item }}", for_each="{{ seed.rows }}", mode="batch")
    rows = [
        "zero",
        "one",
        "two (refused)",
        "three",
        *(f"{n} (no answer)" for n in ("four", "five", "six", "seven")),
    ]
    return {
        "batch": (
            "its batch is open at the provider; it is collected, and no second one is made",
            body(
                "batch", batch, prompt("batch", "after", "after {{ tasks.rows | length }} rows", llm=LLM),
                data={"rows": ["zero", "one", "two"]},
                llm={**LLM, "model": "anthropic:claude-haiku-4-5"},
            ),
        ),
        "killed-in-a-map": (
            "killed in a map: some rows have an outcome, two are with the model, the others were not begun",
            body(
                "killed-in-a-map",
                prompt("killed-in-a-map", "rows", "{{ item }}", for_each="{{ seed.rows }}", max_concurrency=2),
                prompt("killed-in-a-map", "after", "after {{ tasks.rows | length }} rows"),
                data={"rows": rows},
            ),
        ),
        "killed-between-calls": (
            "killed in a task that has one answer in the journal and one call with the model",
            body("killed-between-calls", code("both", TWO_CALLS)),
        ),
        "pending": ("had no worker yet", body("pending", prompt("pending", "only"))),
    }  # fmt: skip
