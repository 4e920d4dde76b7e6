"""The kinds of files that a task shows to a model, as far as the seed has them: so that a model which takes no sound is
refused before a run starts, and not row by row."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice

from po_jupyter.engine.files.pdf_pages import missing_reader
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.engine.prompts.templates import RowsExpression, template_names
from po_jupyter.errors import PoError
from po_jupyter.llm.audio import FileKind, audio_format
from po_jupyter.llm.documents import is_pdf
from po_jupyter.llm.providers.refs import files_problem, kinds_taken
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.values.json import JsonValue

_MOST_READ = 20  # rows; the rest are taken to be like them
_HEAD = 2048  # characters of base64: more than what tells a kind


def task_files_problem(task: Task, model: str, seed: Seed | None) -> str | None:
    """What is wrong with the files of a task and a model, as far as the seed shows it."""
    kinds = set() if seed is None else set(kinds_in(task, seed))
    if (problem := files_problem(model, sorted(kinds))) is not None:
        return problem
    reads_only = "audio" not in (kinds_taken(model) or ())
    return missing_reader() if reads_only or "pdf" in kinds else None


def kinds_in(task: Task, seed: Seed) -> Iterator[FileKind]:
    """The kinds of the files of the first rows that the seed has as `data:` URLs."""
    names = template_names(seed=seed.data, seed_name=seed.name, tasks={}, config=task.config, run={})
    with suppress(PoError):  # what needs an output that is not there yet; other checks say what else is wrong
        prompt = PromptTask(task)
        rows: list[Mapping[str, JsonValue]] = [names]
        if task.for_each is not None:
            items = RowsExpression(task.for_each, task=task.name).evaluate(names)
            rows = [{**names, "item": item, "index": n} for n, item in enumerate(islice(items, _MOST_READ))]
        for row in rows:
            for file in prompt.files(row):
                if (kind := _kind_of(file.text)) is not None:
                    yield kind


def _kind_of(text: str) -> FileKind | None:
    head, _, data = text[: 2 * _HEAD].partition(",")
    if not head.startswith("data:"):
        return None
    try:
        first = b64decode(data[: len(data[:_HEAD]) // 4 * 4])
    except (Error, ValueError):
        return None
    if audio_format(first) is not None:
        return "audio"
    return "pdf" if is_pdf(first) else None
