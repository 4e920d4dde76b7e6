"""What the chaos runs, and how each of its runs has to end, whatever happens to it meanwhile.

Every prompt is a different one, so that the model's server can say how often each call was really sent.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

MAX_TOKENS = 50
USED = {"prompt_tokens": 10, "completion_tokens": 10}  # of every call, as the model's server bills it
TIMEOUT = 6.0  # s, of a stage
BAD = "poison"  # a prompt with this word in it is refused by the model, for good

# What a task does is in its config: one source for all of them.
SOURCE = """
import asyncio, ctypes, time

async def ingestion(ctx):
    config = ctx.config
    if ctx.meta["attempt"] <= config.get("fails", 0):
        raise ValueError("not this time")
    if config.get("ask"):
        answer = await ctx.llm.chat(config["ask"])
        return {"said": answer.text}
    if config.get("hold"):
        ctypes.PyDLL(None).usleep(int(config["hold"] * 1e6))  # keeps the GIL: no heartbeat can be sent
    await asyncio.sleep(config.get("seconds", 0))
    return {"of": sorted(ctx.tasks), "task": ctx.meta["task"]}
"""


@dataclass(slots=True)
class Plan:
    """One run: what is submitted, and how it ends. `error` is the code of the run's error.

    `rows` are the outcomes of maps, by task: True, False, or None for a row that may or may not have run.
    """

    key: str
    kind: str
    tasks: list[dict[str, Any]]
    state: str = "done"
    error: str | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, list[bool | None]] = field(default_factory=dict)
    budget: int | None = None
    decision: str | None = None
    decide_after: float = 0.0  # s after the stream said that the gate is open
    cancel_after: float | None = None  # s after the submit; it may come too late

    def body(self) -> dict[str, Any]:
        """A `POST runs` body. The key makes a repeated submit harmless."""
        pipeline = {
            "name": f"chaos-{self.kind}",
            "llm": {"model": "openai:chaos", "max_tokens": MAX_TOKENS, "retry": {"max_attempts": 10}},
            "tasks": self.tasks,
        }
        body: dict[str, Any] = {
            "pipeline": pipeline,
            "seed": {"name": self.key, "data": {"rows": [len(r) for r in self.rows.values()]}},
            "idempotency_key": self.key,
        }
        if self.budget is not None:
            body["budget"] = {"tokens": self.budget}
        return body

    # -- tasks ----------------------------------------------------------------------------------
    def ask(self, name: str, needs: list[str] | None = None, **more: Any) -> None:
        """A prompt task."""
        prompt = f"{self.key} {name}"
        self._add(name, needs, {"prompt": prompt, **more})
        self.outputs[name] = f"echo: {prompt}"

    def code(self, name: str, needs: list[str] | None = None, **config: Any) -> None:
        """A Python task."""
        retry = {"max_attempts": 3, "initial_delay": 0.05, "max_delay": 0.2}
        self._add(name, needs, {"source": SOURCE, "config": config, "retry": retry})
        if "ask" in config:
            self.outputs[name] = {"said": f"echo: {config['ask']}"}

    def map(self, name: str, rows: list[bool | None], width: int) -> None:
        """A map over prompts; False is a row that the model refuses."""
        items = [self.row(name, i, ok) for i, ok in enumerate(rows)]
        each = {"prompt": "{{ item }}", "for_each": f"{{{{ {items!r} }}}}", "max_concurrency": width}
        self._add(name, None, each)
        self.rows[name] = rows
        self.outputs[name] = [f"echo: {item}" for item in items]

    def row(self, task: str, index: int, ok: bool | None) -> str:
        """The prompt of a row."""
        return f"{self.key} {task} row {index}" + (f" {BAD}" if ok is False else "")

    def _add(self, name: str, needs: list[str] | None, more: dict[str, Any]) -> None:
        task = {"name": name, "timeout": TIMEOUT, **more}
        if needs is not None:
            task["needs"] = needs
        self.tasks.append(task)


def plan(number: int, dice: random.Random) -> Plan:
    """The plan of run `number`."""
    kinds = ["linear", "dag", "map", "gate", "code", "rejected", "budget", "failing", "cancel"]
    kind = dice.choices(kinds, [5, 5, 5, 3, 3, 1, 2, 2, 1])[0]
    made = Plan(f"r{number:03}", kind, [])
    globals()[f"_{kind}"](made, dice)
    return made


def _linear(made: Plan, dice: random.Random) -> None:
    for i in range(dice.randint(2, 6)):
        made.ask(f"t{i}")


def _dag(made: Plan, dice: random.Random) -> None:
    made.ask("top", [])
    sides = [f"side{i}" for i in range(dice.randint(2, 4))]
    for side in sides:
        if dice.random() < 0.7:
            made.ask(side, ["top"])
        else:
            made.code(side, ["top"], seconds=dice.uniform(0, 0.4))
    made.code("join", sides)
    made.outputs["join"] = {"of": sorted(["top", *sides]), "task": "join"}


def _map(made: Plan, dice: random.Random) -> None:
    made.ask("first")
    made.map("rows", [dice.random() > 0.1 for _ in range(dice.randint(5, 40))], dice.randint(1, 8))
    made.ask("last")


def _gate(made: Plan, dice: random.Random) -> None:
    made.ask("draft", gate={"message": "look"})
    made.ask("send")
    made.decision, made.decide_after = "approve", dice.choice([0.0, 0.5, 2.0])


def _rejected(made: Plan, dice: random.Random) -> None:
    made.ask("draft", gate={"message": "look"})
    made.ask("send")
    del made.outputs["send"]
    made.decision, made.state, made.error = "reject", "cancelled", "gate_rejected"
    made.decide_after = dice.choice([0.0, 0.5, 2.0])


def _code(made: Plan, dice: random.Random) -> None:
    made.code("asks", ask=f"{made.key} asks")
    made.code("tries", fails=dice.randint(0, 2))
    made.code("holds", hold=dice.uniform(0.2, 1.5))
    made.ask("last")


def _budget(made: Plan, dice: random.Random) -> None:
    rows = dice.randint(20, 30)
    if dice.random() < 0.5:
        made.map("rows", [None] * rows, dice.randint(1, 6))
        made.budget = dice.randint(100, 200)  # five to ten calls; an unknown outcome may make it fewer
        made.state, made.error = "failed", "budget_exceeded"
        made.outputs.clear()
    else:
        made.map("rows", [True] * rows, dice.randint(1, 6))
        made.budget = 5000


def _failing(made: Plan, dice: random.Random) -> None:
    made.ask("top", [])
    made.ask("fine", ["top"])
    made.code("bad", ["top"], fails=99)
    made.ask("after", ["bad"])
    del made.outputs["after"]
    made.state, made.error = "failed", "stage_failed"


def _cancel(made: Plan, dice: random.Random) -> None:
    for i in range(4):
        made.ask(f"t{i}")
    made.code("long", seconds=3.0)
    made.cancel_after = dice.uniform(0.0, 2.0)
    made.state = "cancelled"
    made.outputs.clear()
