"""The operations on tables: `po.map`, `po.filter`, `po.extract`, `po.classify`.

Each is a run: seen in the panel, resumed after a crash, within its budget. A call that is made again with the same
question and rows finds its run while that goes on; later, rows that were answered are not paid again.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Literal, Unpack

from po_jupyter.client.async_client import AsyncClient
from po_jupyter.client.client import Client
from po_jupyter.client.default import default_client
from po_jupyter.client.inputs.seeds import seed_of
from po_jupyter.client.run import Run
from po_jupyter.client.tables import answers, questions
from po_jupyter.client.tables.options import TableOptions, check_options
from po_jupyter.client.tables.questions import Prompt
from po_jupyter.client.tables.watching import watch
from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.errors.tracebacks import shorten
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.digests import short_digest

_log = logging.getLogger("po_jupyter")
_QUESTION = "po_table"  # in the seed's metadata: the digest of what is asked
_RUNS_PAGE = 200
_GOING_ON = ("pending", "running", "waiting")
_starting = threading.Lock()  # so that the same call in two threads is one run, and paid once


def map(data: Any, prompt: Prompt, *, output: Any = None, **options: Unpack[TableOptions]) -> Any:
    """The table with an answer for each row: a DataFrame on its own index, the fields of the answers as columns, and
    `error`, the message of rows that failed.

    `data` is a DataFrame or Series of pandas or polars, or a list. `prompt` is a template: `{{ item.text }}` is the
    column `text` of the row, `{{ item }}` the value of a Series or list. `output` is a class (a pydantic model, a
    dataclass, a TypedDict) or a JSON Schema that each answer fits; without it the text is the column `output`. A
    column that is there already stays, and the answer's is called `output_NAME`. `options`: see `TableOptions`.

    Blocks until all rows are done. An interrupt ends the waiting, not the run: the same call finds it again. What was
    answered in an earlier call is not paid again. `attrs["po_run"]` of a pandas frame is the run's id.

    Raises InvalidInput, InvalidSeed and InvalidPipeline before anything is asked; the run's error when it did not end
    `done`: a budget spent, all rows failed; TimeoutError.
    """
    return _table(data, "map", lambda: questions.map_question("map", prompt, output, options), options)


def extract(data: Any, fields: Any, *, prompt: Prompt | None = None, **options: Unpack[TableOptions]) -> Any:
    """The table with `fields` taken from each row, as `map` gives it.

    `fields` are names, `["company", "year"]`, types by name, `{"company": str, "year": int | None}`, a class, or a
    JSON Schema of an object.
    """
    return _table(data, "extract", lambda: questions.extract_question(fields, prompt, options), options)


def classify(
    data: Any,
    labels: Iterable[str],
    *,
    prompt: Prompt | None = None,
    several: bool = False,
    **options: Unpack[TableOptions],
) -> Any:
    """The table with the label that fits each row, in the column `label`; as `map` gives it.

    With `several` all that fit, lists in the column `labels`.
    """
    return _table(
        data, "classify", lambda: questions.classify_question(labels, prompt, several, options), options
    )


def filter(
    data: Any,
    prompt: Prompt | None = None,
    *,
    where: str | None = None,
    output: Any = None,
    errors: Literal["raise", "drop", "keep"] = "raise",
    **options: Unpack[TableOptions],
) -> Any:
    """The rows for which the model answers `prompt` with yes: a table as `data` is, on its own index.

    `where` is an expression. Without a prompt it is true of the rows that stay, and nothing is asked:
    `where="{{ item.amount > 100 }}"`. With one it sees the answer too, which fits `output`, as `map` takes it:
    `where="{{ output.anger > 7 }}"`.

    Rows that failed are named: `errors="raise"` raises PoError (the same call asks only those again), `drop` leaves
    them out and `keep` keeps them, with a warning in the log. `options` and what else is raised: as of `map`.
    """
    if errors not in ("raise", "drop", "keep"):
        raise InvalidInput(f'`errors` is "raise", "drop" or "keep", not {errors!r:.40}')
    run, pipeline, count = _run(
        data, "filter", lambda: questions.filter_question(prompt, where, output, options), options
    )
    if options.get("wait") is False:
        return run
    task = pipeline.tasks[0].name
    places = {answers.place_of(row) for row in run.items(task, result=True)}
    if prompt is not None and (failed := run.items(task, "failed")):
        first = failed[0]
        message = (
            f"{len(failed)} of {count} rows failed, the first one "
            f"({answers.label_of(data, answers.place_of(first))}) with: {answers.error_of(first)}"
        )
        if errors == "raise":
            raise PoError(
                message,
                hint='The same call asks only those again. errors="drop" or errors="keep" goes on without. '
                f"All of them: po rows {run.short} --task {task} --failed",
            )
        _log.warning("%s; they are %s", message, "kept" if errors == "keep" else "left out")
        if errors == "keep":
            places |= {answers.place_of(row) for row in failed}
    return answers.kept(data, sorted(places), run.id)


def _table(data: Any, verb: str, question: Callable[[], Pipeline], options: TableOptions) -> Any:
    run, pipeline, count = _run(data, verb, question, options)
    if options.get("wait") is False:
        return run
    return answers.beside(data, answers.columns_of(pipeline, run.items(pipeline.tasks[0].name), count), run.id)


def _run(
    data: Any, verb: str, question: Callable[[], Pipeline], options: TableOptions
) -> tuple[Run, Pipeline, int]:
    """The run that asks, ended unless it is not to be waited for; its pipeline, and the number of rows asked."""
    check_options(options)
    answers.check_table(verb, data)
    pipeline = question()
    seed = seed_of({"rows": data}, pipeline.name)
    limit = options.get("limit")
    count = len(data) if limit is None else min(limit, len(data))
    client = options.get("client") or default_client()
    run = _start(client, pipeline, seed, options)
    if options.get("wait") is not False:
        _wait(run, options.get("timeout"))
    return run, pipeline, count


def _start(client: Client, pipeline: Pipeline, seed: Seed, options: TableOptions) -> Run:
    fresh, limit = bool(options.get("fresh")), options.get("limit")
    digest = _digest(pipeline, seed, limit)
    budget, skip, key = options.get("budget"), bool(options.get("skip_validation")), None
    with _starting:
        if not fresh:
            # Looked for before the runs that go on: the same call in another kernel at the same moment either has its
            # run among those, or finds the same newest one, and with that key both get one run.
            newest, _ = client.call(client.aio.runs(pipeline=pipeline.name, limit=1))
            view = client.call(_going_on(client.aio, pipeline.name, digest))
            if view is not None:
                return Run(client, view)
            here = sys.executable, os.getcwd()  # of scorers in Python, which are part of the request
            key = short_digest(f"{_QUESTION} {digest} {[run.id for run in newest]} {budget!r} {skip} {here}")
        return client.submit(
            pipeline,
            seed.model_copy(update={"metadata": {_QUESTION: digest}}),
            idempotency_key=key,
            budget=budget,
            limit=limit,
            fresh=fresh,
            skip_validation=skip,
        )


async def _going_on(aio: AsyncClient, name: str, digest: str) -> RunView | None:
    """The newest run of that pipeline that goes on and was asked this. Looks at all of them: as many as there are, and
    the store finds those that go on by their states."""
    cursor: str | None = None
    while True:
        views, cursor = await aio.runs(states=_GOING_ON, pipeline=name, cursor=cursor, limit=_RUNS_PAGE)
        for view in views:
            # A fork has the seed of the run that it was made from, and may ask something else.
            if view.forked_from is None and (view.seed.get("metadata") or {}).get(_QUESTION) == digest:
                return view
        if cursor is None:
            return None


def _digest(pipeline: Pipeline, seed: Seed, limit: int | None) -> str:
    text = json.dumps([pipeline.to_json(), seed.data, seed.index, limit], sort_keys=True)
    return short_digest(text)


def _wait(run: Run, timeout: float | None) -> None:
    try:
        watch(run, timeout)
    except KeyboardInterrupt as interrupt:
        print(
            f"detached; the run goes on: po show {run.short}, po cancel {run.short}. The same call finds it again."
        )
        shorten(interrupt)
        raise
    if run.state == "done":
        return
    error = run.error or PoError(f"run {run.short} ended {run.state}")
    kept = f"What was answered is kept, and the same call asks only for the rest: po show {run.short}"
    error.hint = f"{error.hint} {kept}".strip()
    raise error
