"""Which runs may be worked off in a process of many: those that have no code of a person's own, and are not large.

A list in the seed tells it beforehand, where there is a map; the worker gives back what turns out to be larger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidSeed
from po_jupyter.ipc.turn_file import MAX_SHARED_ROWS
from po_jupyter.llm.specs import Plugin, specs
from po_jupyter.model.pipeline.evals.scores import BUILT_IN
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.run.row_file_ref import refs_in
from po_jupyter.model.run.row_spans import parse_spans
from po_jupyter.model.values.task_kind import asks_model


def is_shareable(definition: RunDefinition, settings: Settings, *, plain: bool | None = None) -> bool:
    """Whether the run needs no process of its own: prompts alone, asked of models over HTTP. `plain` is `is_plain`,
    where it is known."""
    if not settings.shared_worker or not (is_plain(definition) if plain is None else plain):
        return False
    return all(_is_asked_by_us(model) for model in set(_models(definition, settings)))


def is_plain(definition: RunDefinition) -> bool:
    """Whether nothing in the definition itself needs a process of its own, whatever the settings are where it runs."""
    if definition.interpreter is not None or definition.env:
        return False
    tasks: Sequence[Mapping[str, object]] = definition.pipeline["tasks"]
    if not all(_is_plain_prompt(task) for task in tasks):
        return False
    if any(task.get("for_each") for task in tasks) and _has_many_rows(definition.seed):
        return False
    parent = definition.parent
    # The child run of a large map reads all of its parent's seed.
    return parent is None or not (parent.get("of", 0) > MAX_SHARED_ROWS or _is_large(parent["rows"]))


def _is_plain_prompt(task: Mapping[str, object]) -> bool:
    has_code = task.get("output_type") is not None or task.get("tools") or _has_python_scorers(task)
    compares = task.get("distinct") is not None  # vectors with one another: seconds, and much memory
    return asks_model(task) and not has_code and not compares


def _scorers(task: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    score = task.get("score")
    for scorer in score if isinstance(score, list | tuple) else [score]:
        if isinstance(scorer, Mapping):
            yield scorer


def _has_python_scorers(task: Mapping[str, object]) -> bool:
    """Whether functions of a package score its answers."""
    metrics = (scorer.get("metrics") for scorer in _scorers(task))
    return any(name not in BUILT_IN for names in metrics if isinstance(names, list | tuple) for name in names)


def _has_many_rows(seed: Mapping[str, object]) -> bool:
    data = seed.get("data")
    if not isinstance(data, Mapping):
        return False
    try:
        if any(ref.rows > MAX_SHARED_ROWS for _, ref in refs_in(data)):
            return True
    except InvalidSeed:
        return True  # its own worker says what is wrong
    return any(isinstance(value, list) and len(value) > MAX_SHARED_ROWS for value in data.values())


def _is_large(spans: str) -> bool:
    return sum(1 for _ in islice(parse_spans(spans), MAX_SHARED_ROWS + 1)) > MAX_SHARED_ROWS


def _models(definition: RunDefinition, settings: Settings) -> Iterator[str]:
    """The models that the tasks may ask, as `RunInputs.model_of` finds them."""
    chosen = definition.options.model
    if chosen:
        yield chosen
    default = _model_of(definition.pipeline) or settings.default_model
    for task in definition.pipeline["tasks"]:
        if chosen and task.get("embed") is None:
            continue
        llm = task.get("llm")
        for part in llm if isinstance(llm, list) else [llm]:
            yield _model_of({"llm": part}) or default
        yield from filter(None, map(_model_of, _scorers(task)))


def _model_of(part: Mapping[str, object]) -> str | None:
    llm = part.get("llm")
    model = llm.get("model") if isinstance(llm, Mapping) else None
    return model if isinstance(model, str) else None


def _is_asked_by_us(model: str) -> bool:
    """Whether our own code asks the model: neither a program that may do anything, nor another package."""
    spec = specs().get(model.partition(":")[0])
    return spec is not None and not spec.runs_code and not isinstance(spec.factory, Plugin)
