"""The estimate of a run: its calls, tokens and cost before anything is spent (G1).

Prompts are rendered with the seed, and with a sample in the place of every answer that does not exist yet. What
cannot be known (the calls of Python tasks, rows that come from them) is in `unknown`, and then sums are of the
rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.engine.planning.calls_cost import CallsCost
from po_jupyter.engine.planning.document_tokens import DocumentTokens
from po_jupyter.engine.planning.judge_cost import judge_costs
from po_jupyter.engine.planning.operators import plan_operator
from po_jupyter.engine.planning.planned_model import PlannedModel, planned_model
from po_jupyter.engine.planning.variant_estimate import estimate_variants
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.engine.prompts.seed_values import evaluate_seed
from po_jupyter.engine.prompts.templates import RowsExpression, template_names
from po_jupyter.errors import PoError
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.money.tokens import CHARS_PER_TOKEN, estimate, estimate_messages
from po_jupyter.llm.structured.example_value import example_value
from po_jupyter.model.pipeline.evals.confidence import with_confidence
from po_jupyter.model.pipeline.evals.learned_cascade import learning_step
from po_jupyter.model.pipeline.evals.scores import Scorer, judge_llm
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.run.contained import pipeline_in
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.model.values.task_kind import ASKS_MODEL

_RENDERED = 200  # rows whose prompts are rendered; the rest are taken to be like them
_WORD = "word "


def estimate_run(
    pipeline: Pipeline,
    seed: Seed,
    data: Mapping[str, JsonValue],
    *,
    settings: Settings,
    limit: int | None = None,
    model: str | None = None,
    prices: PriceBook | None = None,
) -> JsonObject:
    """`{calls, input_tokens, output_tokens_max, cost: {expected, worst}, tasks: [...], unknown: [...]}`.

    `data` is the seed's, with its rows in the place of references to files of them. `expected` takes every
    first answer to be right and as long as a sample of its schema (null without a schema, or without a price);
    `worst` takes every answer to be as long as allowed, and every re-ask to be needed. Retries after errors are
    in neither, judges are in both. Votes that may stop early are expected to agree, and of a cascade its first model
    to do, but for the rows of its sample; `worst` has all of them. `estimated` is true. `prices` are by default those
    of the list and the settings.
    """
    prices = prices if prices is not None else PriceBook(settings.prices)
    return _estimate(pipeline, (seed.name, data), settings, limit, model, prices)[0]


def _estimate(
    pipeline: Pipeline,
    seed: tuple[str, Mapping[str, JsonValue]],
    settings: Settings,
    limit: int | None,
    model: str | None,
    prices: PriceBook,
) -> tuple[JsonObject, JsonObject]:
    """The estimate, and the samples of outputs that it came to."""
    outputs: JsonObject = {}
    unknown: list[str] = []
    tasks = []
    for task in pipeline.tasks:

        def estimate(one: Task) -> JsonObject:
            planned = _TaskPlan(pipeline, one, seed, settings, outputs, limit, model, prices)
            estimated = planned.estimate()
            unknown.extend(text for text in planned.unknown if text not in unknown)
            return estimated

        tasks.append(estimate(task) if task.variants is None else estimate_variants(task, outputs, estimate))
    counted = [t for t in tasks if t["calls"] is not None]
    return {
        "estimated": True,
        "pipeline": pipeline.name,
        "calls": sum(t["calls"] for t in counted),
        "input_tokens": sum(t["input_tokens"] for t in counted),
        "output_tokens_max": sum(t["output_tokens_max"] for t in counted),
        "cost": {
            "expected": _total([t["cost"]["expected"] for t in counted]),
            "worst": _total([t["cost"]["worst"] for t in counted]),
        },
        "budget": pipeline.budget.model_dump(exclude_none=True),
        "tasks": tasks,
        "unknown": unknown,
    }, outputs


class _TaskPlan:
    """One task of the estimate; `unknown` are the things of it that nobody can know yet."""

    def __init__(
        self,
        pipeline: Pipeline,
        task: Task,
        seed: tuple[str, Mapping[str, JsonValue]],
        settings: Settings,
        outputs: JsonObject,
        limit: int | None,
        model: str | None,
        prices: PriceBook,
    ) -> None:
        self.task, self.settings, self.outputs, self.limit = task, settings, outputs, limit
        model = model if task.embed is None else None  # see `RunInputs.model_of`
        self.pipeline, self.seed, self.chosen_model = pipeline, seed, model
        llms = (pipeline.llm_of(task),) if model is not None else pipeline.llms_of(task)
        self.models = [planned_model(llm, model, settings) for llm in llms]
        if task.embed is not None:  # a vector has no tokens
            self.models = [planned._replace(max_tokens=0, most_tokens=0) for planned in self.models]
        self.model, self.max_tokens = self.models[0].model, self.models[0].max_tokens
        self.prices = prices
        self.unknown: list[str] = []
        self.calls_cost = CallsCost(task, prices)
        upstream = pipeline.upstream_of(task.name)
        self.blind = sorted(n for n in upstream if n not in outputs)
        self.names = template_names(
            seed=seed[1],
            seed_name=seed[0],
            tasks={n: v for n, v in outputs.items() if n in upstream},
            config=task.config,
            run={
                "id": "0" * 22, "name": seed[0], "pipeline": pipeline.name, "version": pipeline.version,
                "attempt": 1,
            },
        )  # fmt: skip

    def estimate(self) -> JsonObject:
        task = self.task
        if task.kind == "pipeline":
            return self._of_pipeline()
        rows = self._rows() if task.for_each is not None else None
        if task.kind == "python":
            self.unknown.append(f"task {task.name!r} is Python: what it asks of models is known when it runs")
            if any(scorer.judge is not None for scorer in task.scorers):
                self.unknown.append(f"what the judge of task {task.name!r} is asked: its answers are Python's")
            return self._result(self._count(rows), None)
        if task.for_each is not None and rows is None:
            return self._result(None, None)
        if task.operator is not None and rows is not None:
            return self._operator(rows)
        return self._prompts(rows)

    def _prompts(self, rows: Sequence[Any] | None, most_rows: int | None = None) -> JsonObject:
        """The estimate of a prompt for each of `rows`; `most_rows` where there may be more of them."""
        task = self.task
        if task.images:
            self.unknown.append(f"what the images of task {task.name!r} come to in tokens")
        if task.tools:
            self.unknown.append(f"how often task {task.name!r} calls tools: each round is one more call")
        step, sampled = learning_step(task), ""
        if step is not None and rows is not None:
            some = f", besides {step.sampled:,} rows of a sample"
            sampled = some if step.sampled < len(rows) else ": all rows are its sample"
        for later in self.models[1:]:
            self.unknown.append(f"how many answers of task {task.name!r} are left to {later.model}{sampled}")
        prompt_tokens = self._prompt_tokens(rows)
        sample = self._sample(rows)
        if prompt_tokens is None:
            return self._result(self._count(rows), None)
        calls = 1 if rows is None else len(rows)
        return self._result(self._count(rows), calls, prompt_tokens, sample, most_rows)

    def _operator(self, rows: Sequence[Any]) -> JsonObject:
        """The estimate of an operator over `rows`: answers decide what it asks, and what the tasks behind it have."""
        task = self.task
        models = [(model.model, model.max_tokens) for model in self.models]
        try:
            planned = plan_operator(task, rows, self.names, models, self._answer()[0])
        except PoError:
            self.unknown.append(
                f"what `{task.operator}` of task {task.name!r} makes of its rows: it uses the output of "
                + (", ".join(self.blind) or "a task")
            )
            return self._result(len(rows), None)
        if task.kind not in ASKS_MODEL:
            self.outputs[task.name] = planned.rows
            return self._result(len(rows), 0, 0, 0)
        if task.operator in ("where", "join", "distinct"):
            self.unknown.append(f"how many rows task {task.name!r} keeps: all of them are counted")
        result = self._prompts(planned.items, planned.most_calls)
        self.outputs[task.name] = planned.rows
        return result

    def _of_pipeline(self) -> JsonObject:
        """The sum over the tasks of the pipeline that the task runs."""
        task, inner = self.task, pipeline_in(self.task)
        result = self._result(None, None)
        if inner is None:
            return result
        data = self.seed[1]
        if task.seed is not None:
            try:
                data = evaluate_seed(task.seed, self.names, task=task.name)
            except PoError:
                self.unknown.append(
                    f"the seed of the pipeline of task {task.name!r}: it comes from "
                    + (", ".join(self.blind) or "elsewhere")
                )
                return result
        whole, outputs = _estimate(
            inner, (self.seed[0], data), self.settings, self.limit, self.chosen_model, self.prices
        )
        if len(outputs) == len(inner.tasks):
            self.outputs[task.name] = outputs
        self.unknown += [f"in pipeline {inner.name!r} of task {task.name!r}: {one}" for one in whole["unknown"]]
        counted = [one for one in whole["tasks"] if one["calls"] is not None]
        sums = {name: whole[name] for name in ("calls", "input_tokens", "output_tokens_max", "cost")}
        return {**result, **sums, "calls_max": sum(one["calls_max"] for one in counted)}

    @staticmethod
    def _count(rows: Sequence[Any] | None) -> int | None:
        return None if rows is None else len(rows)

    def _rows(self) -> Sequence[Any] | None:
        assert self.task.for_each is not None
        try:
            rows = RowsExpression(self.task.for_each, task=self.task.name).evaluate(self.names)
        except PoError:
            self.unknown.append(
                f"how many rows task {self.task.name!r} has: they come from "
                + (", ".join(self.blind) or "elsewhere")
            )
            return None
        return rows if self.limit is None else rows[: self.limit]

    def _prompt_tokens(self, rows: Sequence[Any] | None) -> int | None:
        """Input tokens of all first calls; None when the prompt needs what nobody knows yet."""
        prompt = PromptTask(self.task)
        documents = DocumentTokens(prompt, self.model)
        schema = estimate(str(self.task.output)) if self.task.output is not None else 0

        def tokens(names: Mapping[str, JsonValue]) -> int:
            return estimate_messages(m.content for m in prompt.first(names)) + documents.tokens(names) + schema

        try:
            if rows is None:
                total = counted = tokens(self.names)
            else:
                picked = range(0, len(rows), max(1, len(rows) // _RENDERED))
                counted = sum(tokens({**self.names, "item": rows[i], "index": i}) for i in picked)
                total = -(-counted * len(rows) // len(picked)) if rows else 0
        except PoError:
            self.unknown.append(
                f"the prompt of task {self.task.name!r}: it uses the output of "
                + (", ".join(self.blind) or "a task")
            )
            return None
        if not documents.are_known:
            self.unknown.append(f"how many pages or seconds the files of task {self.task.name!r} have")
        self.calls_cost.heard = min(1.0, documents.heard / counted) if counted else 0.0
        return total

    def _sample(self, rows: Sequence[Any] | None) -> int | None:
        """Tokens of an answer as it may be expected, None without a schema; keeps a sample as the output."""
        answer, tokens = self._answer()
        output = answer
        if rows is not None:
            output = [{"index": i, "ok": True, "output": answer, "error": None} for i in range(len(rows))]
        self.outputs[self.task.name] = output
        return None if tokens is None else min(tokens, self.max_tokens)

    def _answer(self) -> tuple[Any, int | None]:
        """A sample of an answer and its tokens: of a text the longest that may be, whose tokens are none to expect."""
        if self.task.embed is not None:
            return [0.0], 0
        if self.task.output is None:
            return _WORD * (self.max_tokens * CHARS_PER_TOKEN // len(_WORD)), None
        tokens = estimate(str(example_value(self.task.output, text="text")))
        return example_value(with_confidence(self.task), text="text"), tokens

    def _result(
        self,
        rows: int | None,
        calls: int | None,
        prompt_tokens: int = 0,
        sample: int | None = None,
        most_calls: int | None = None,
    ) -> JsonObject:
        result: JsonObject = {
            "name": self.task.name,
            "kind": self.task.kind,
            "model": self.model if self.task.kind in ASKS_MODEL else None,
            "rows": rows,
            "calls": calls,
            "calls_max": None,
            "input_tokens": None,
            "output_tokens_max": None,
            "cost": {"expected": None, "worst": None},
            "mode": self.task.mode,
        }
        if calls is None:
            return result
        votes = self.task.votes
        most, fewest = (1, 1) if votes is None else (votes.n, votes.fewest)
        most_tokens = prompt_tokens
        if most_calls is not None and calls and most_calls > calls:
            most_tokens = -(-prompt_tokens * most_calls // calls)
        most *= most_calls if most_calls is not None else calls
        times = 1 if votes is None else votes.n
        worst = [self.calls_cost.most(model, most, times * most_tokens) for model in self.models]
        calls, prompt_tokens = fewest * calls, fewest * prompt_tokens  # all votes agree, no answer is in doubt
        result |= {
            "calls": calls,
            "calls_max": sum(cost.calls for cost in worst),
            "input_tokens": prompt_tokens,
            "output_tokens_max": sum(cost.answers for cost in worst),
            "cost": {
                "expected": None
                if sample is None
                else self.calls_cost.usd(self.models[0], prompt_tokens, calls * sample, calls),
                "worst": _total([cost.usd for cost in worst]),
            },
        }
        step = learning_step(self.task) if rows and len(self.models) > 1 else None
        if step is not None:
            self.calls_cost.add_sample(result, step, self.models[1], sample)
        for model, cost in zip(self.models, worst, strict=True):
            if cost.usd is None:
                self.unknown.append(f"the price of {model.model} (task {self.task.name!r})")
        return self._with_judges(result, 1 if rows is None else rows)

    def _with_judges(self, result: JsonObject, answers: int) -> JsonObject:
        """The numbers with what judges of so many answers are asked."""
        for cost in judge_costs(self.task, self.names, self.outputs, self._judge_model, self.prices):
            result["calls"] += answers * cost.calls
            result["calls_max"] += answers * cost.calls_max
            result["input_tokens"] += answers * cost.input_tokens
            result["output_tokens_max"] += answers * cost.output_tokens_max
            for case, usd in (("expected", cost.expected), ("worst", cost.worst)):
                result["cost"][case] = _total([result["cost"][case], None if usd is None else answers * usd])
            if cost.worst is None:
                self.unknown.append(f"the price of {cost.model} (the judge of task {self.task.name!r})")
        return result

    def _judge_model(self, scorer: Scorer) -> PlannedModel:
        """The model that a judge is asked of."""
        llm = judge_llm(scorer, self.pipeline.llm)
        return planned_model(llm, self.chosen_model or llm.model or self.model, self.settings)


def _total(costs: list[float | None]) -> float | None:
    return None if any(c is None for c in costs) else float(sum(c for c in costs if c is not None))
