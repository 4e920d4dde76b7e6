"""The kinds of files that a task shows to a model, as far as the seed has them: so that a model which takes no sound is
refused before a run starts, and not row by row."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from po_jupyter.engine.files.pdf_pages import missing_reader
from po_jupyter.llm.audio import FileKind, audio_format
from po_jupyter.llm.documents import is_pdf
from po_jupyter.llm.providers.refs import files_problem, kinds_taken
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.values.json import JsonValue

_MOST_READ = 20  # rows; the rest are taken to be like them
_HEAD = 2048  # characters of base64: more than what tells a kind
_STEP = r"""\.[A-Za-z_]\w*|\["[^"\]]*"\]|\['[^'\]]*'\]|\[\d{1,9}\]"""
_NAME = re.compile(rf"\s*{{{{\s*(?P<root>seed|item)(?P<steps>(?:{_STEP})*)\s*}}}}\s*")


def task_files_problem(task: Task, model: str, seed: Seed | None) -> str | None:
    """What is wrong with the files of a task and a model, as far as the seed shows it."""
    kinds = set() if seed is None else set(kinds_in(task, seed))
    if (problem := files_problem(model, sorted(kinds))) is not None:
        return problem
    reads_only = "audio" not in (kinds_taken(model) or ())
    return missing_reader() if reads_only or "pdf" in kinds else None


def kinds_in(task: Task, seed: Seed) -> Iterator[FileKind]:
    """The kinds of the files of the first rows that the seed has as `data:` URLs, where templates name them and make
    nothing of them: `{{ item.sound }}`. Nothing is rendered here, where a template could take for ever."""
    rows: JsonValue = [None]
    if task.for_each is not None:
        rows = _named_value(task.for_each, {"seed": seed.data})
    for row in islice(rows if isinstance(rows, Sequence) else (), _MOST_READ):
        for template in task.files:
            value = _named_value(template, {"seed": seed.data, "item": row})
            if isinstance(value, str) and (kind := _kind_of(value)) is not None:
                yield kind


def _named_value(template: str, names: Mapping[str, JsonValue]) -> JsonValue:
    """The value that a template is the mere name of; None: it is no name, or of nothing."""
    if (found := _NAME.fullmatch(template)) is None:
        return None
    value = names.get(found["root"])
    for step in re.findall(_STEP, found["steps"]):
        key = step.strip(".[]\"'")
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, Sequence) and not isinstance(value, str) and key.isdecimal():
            value = value[int(key)] if int(key) < len(value) else None
        else:
            return None
    return value


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
