"""The definition of a map: the hash of everything besides a row that makes the outcome of the row."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

from jinja2 import meta

from po_jupyter.engine.base.answer_bounds import hashed_answer_bound
from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.maps.dependencies import digest
from po_jupyter.engine.maps.local_code import local_hashes
from po_jupyter.engine.prompts.templates import ENVIRONMENT
from po_jupyter.engine.python.python_task import Functions
from po_jupyter.model.pipeline.pipeline import CascadeStep, Task
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonObject

# The fields of a task that make the outcome of a row; the others say how it is run.
_FIELDS = {
    "task",
    "source",
    "system",
    "prompt",
    "embed",
    "output",
    "output_type",
    "refine",
    "config",
    "images",
    "files",
    "tools",
    "max_tool_rounds",
    "votes",
    "confidence",
    "score",
}

_HOW_ASKED = {"retry", "timeout", "service_tier"}  # settings of a model that change no answer


def definition_hash(inputs: RunInputs, task: Task, functions: Functions | None = None) -> str | None:
    """The hash of a map's definition: prompt, schema, model, code; None when it cannot be known before the answer.

    `functions` are the stage functions of a Python task: the files that they come from count as its code.
    """
    definition = task.model_dump(mode="json", exclude_defaults=True, include=_FIELDS)
    if '"format"' in json.dumps(task.output):
        definition["formats"] = 1  # outcomes of versions that did not judge them are none of this definition
    llm = inputs.llm_of(task)
    definition["llm"] = llm.model_dump(mode="json", exclude_none=True, exclude=_HOW_ASKED)
    definition["llm"]["model"] = inputs.model_of(task)
    definition["llm"].setdefault("max_tokens", hashed_answer_bound(inputs.settings))
    if then := inputs.llms_of(task)[1:]:
        definition["then"] = [
            {
                "max_tokens": hashed_answer_bound(inputs.settings),
                **llm.model_dump(mode="json", exclude_none=True, exclude=_HOW_ASKED),
            }
            for llm in then
        ]
        if any("seed" in (llm.when or "") for llm in then if isinstance(llm, CascadeStep)):
            definition["seed"] = [inputs.seed.name, digest(inputs.seed.data)]
    _add_judges(definition, inputs, task)
    if functions is not None and task.source is None:
        definition["module"] = task.task or task.name
        definition["files"] = _hashes_of_files(functions)
    if imports := _hashes_of_imports(task, functions or {}, definition.get("files", [])):
        definition["imports"] = imports
    if task.refine.critique is not None:
        # Rendered only once there is an answer, so the values of its names have to be known as a whole.
        names = meta.find_undeclared_variables(ENVIRONMENT.parse(task.refine.critique))
        if names & {"tasks", "run"}:
            return None
        if "seed" in names:
            definition["seed"] = digest(inputs.seed.data)
        if "seed_name" in names:
            definition["seed_name"] = inputs.seed.name
    return digest([inputs.owner, definition])


def _add_judges(definition: JsonObject, inputs: RunInputs, task: Task) -> None:
    """Add the models of judges, and the seed where a score is made of it: other ones make other scores."""
    for scorer in task.scorers:
        if scorer.judge is not None:
            llm = inputs.judge_llm(task, scorer).model_dump(mode="json", exclude_none=True, exclude=_HOW_ASKED)
            definition.setdefault("judges", []).append(
                {"max_tokens": hashed_answer_bound(inputs.settings), **llm}
            )
        if "seed" in (scorer.expect or "") or "seed" in (scorer.judge or ""):
            definition["seed"] = [inputs.seed.name, digest(inputs.seed.data)]


def _hashes_of_imports(task: Task, functions: Functions, known: list[str]) -> list[str]:
    """Hashes of the files of one's own that the code of a task is made of, besides the `known`: a helper that is edited
    makes other outcomes."""
    texts = [text for text in (task.source, task.output_type) if text is not None]
    modules = [] if task.source is not None else [str(function.__module__) for function in functions.values()]
    return [found for found in local_hashes(texts, modules) if found not in known] if texts or modules else []


def _hashes_of_files(functions: Functions) -> list[str]:
    """Hashes of the files that stage functions of an installed module come from."""
    hashes: set[str] = set()
    for function in functions.values():
        try:
            path = inspect.getsourcefile(inspect.unwrap(function))
            if path is not None:
                hashes.add(short_digest(Path(path).read_bytes()))
        except (OSError, TypeError):
            hashes.add("unreadable")
    return sorted(hashes)
