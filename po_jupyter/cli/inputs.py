"""Inputs of a command line: pipelines and seeds from files, registered names and JSON text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from po_jupyter.cli import base
from po_jupyter.cli.base import parse_json, read_stdin
from po_jupyter.errors import InvalidInput, InvalidPipeline, NotFound, Violation
from po_jupyter.model.pipeline.parsing import line_finder, parse_pipeline, validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean, missing_module
from po_jupyter.model.run.seed import Seed, read_seed
from po_jupyter.model.values.csv_rows import DELIMITERS, read_rows
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.task_modules import is_available

if TYPE_CHECKING:
    from po_jupyter.client.client import Client

_SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 256 * 1024 * 1024  # of a file of rows; a larger one does not fit into a request
_TABLES = (".parquet", ".xlsx", ".xls", ".ods", ".arrow", ".feather", ".gz", ".zip", ".zst")  # no text
_QUERY_TIMEOUT = 600.0  # s that a query of --sql has


def is_file(name: str) -> bool:
    """True when `name` means a file, existing or not, and no registered pipeline."""
    path = Path(name)
    return path.is_file() or path.suffix in _SUFFIXES or "/" in name or "\\" in name


def pipeline_file(name: str) -> Pipeline:
    """The pipeline in a YAML or JSON file. Raises InvalidPipeline with lines, NotFound."""
    path = Path(name)
    text = read_text(path)
    try:
        return parse_pipeline(text)
    except InvalidPipeline as error:
        raise InvalidPipeline(
            f"{path} is not a pipeline that can run:" if error.violations else f"{path}: {error.message}",
            violations=error.violations,
            hint=error.hint,
        ) from None


def need_code(pipeline: Pipeline) -> None:
    """Check that the code of Python tasks is found by this interpreter in this directory, which a worker will use.

    Raises InvalidPipeline.
    """
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.append(directory)  # as a worker does
    missing = [
        Violation(f"tasks[{i}]", missing_module(task.name, task.module))
        for i, task in enumerate(pipeline.tasks)
        if task.module is not None and not is_available(task.module)
    ]
    if missing:
        raise InvalidPipeline(
            violations=missing,
            hint="Give it a `prompt`, a `source`, or a module of that name in this directory.",
        )


@contextmanager
def located(name: str) -> Iterator[None]:
    """Give violations of the pipeline `name` that the orchestrator reports the lines of its file."""
    try:
        yield
    except InvalidPipeline as error:
        if not error.violations:
            raise
        # Its lines count within a prompt or a source; without the file they would mislead.
        find = line_finder(read_text(Path(name))) if is_file(name) else lambda violation: None
        raise InvalidPipeline(
            f"{name} is not a pipeline that can run:",
            violations=sorted(
                (v._replace(line=find(v), column=None) for v in error.violations), key=lambda v: v.line or 0
            ),
            hint=error.hint,
        ) from None


def find_pipeline(name: str, client: Client) -> Pipeline:
    """The pipeline in the file `name`, else the registered one of that name. Raises NotFound."""
    if is_file(name):
        return pipeline_file(name)
    try:
        definition = client.call(client.aio.pipeline(name))
    except NotFound:
        files = {p.stem: p.name for p in sorted(Path().glob("*")) if p.suffix in _SUFFIXES}
        near = get_close_matches(name, list(files), n=1)
        guess = did_you_mean(name, [str(p["name"]) for p in client.pipelines()])
        if not guess and near:
            guess = f"; did you mean the file `{files[near[0]]}`?"
        raise NotFound(
            f"there is no file and no registered pipeline called {name!r}{guess}",
            hint="`po pipelines` lists the registered ones.",
        ) from None
    # The orchestrator adds fields that are not a part of the definition.
    return validate_pipeline({k: v for k, v in definition.items() if k in Pipeline.model_fields})


def read_run_inputs(
    name: str, seed: str | None, model: str | None, *, sql: str | None = None, db: str | None = None
) -> tuple[Client, Pipeline, Any]:
    """The orchestrator (started when there is none), the pipeline and the seed's data of a command line.

    Mistakes in the model, the seed or the pipeline's file are found before an orchestrator is started.
    """
    check_model(model)
    data = seed_data(seed) if (query := sql_query(sql, db, seed)) is None else _rows_of(query)
    if is_file(name):
        pipeline_file(name)
    client = base.connect(start=True)
    return client, find_pipeline(name, client), data


def check_model(model: str | None) -> None:
    """`--model` is a model ref. Raises InvalidPipeline."""
    if model is not None:
        validate_pipeline({**_ANY, "llm": {"model": model}})


def with_model(pipeline: Pipeline, model: str | None) -> Pipeline:
    """`pipeline` with `--model`; a task that names a model of its own keeps it. Raises InvalidPipeline."""
    if model is None:
        return pipeline
    llm = validate_pipeline({**_ANY, "llm": {"model": model}}).llm.over(pipeline.llm)
    return pipeline.model_copy(update={"llm": llm})


_ANY: JsonObject = {"name": "any", "tasks": ["any"]}


def seed_data(text: str | None) -> Any:
    """The seed's data in a `--seed` option: JSON, `@FILE` (JSON, JSON lines, CSV or TSV) or `-` (JSON from stdin)."""
    if text is None:
        return {}
    if text == "-":
        return parse_json(read_stdin(), "what came from stdin")
    if text.startswith("@"):
        return _rows_or_json(Path(text[1:]))
    value = parse_json(text, "the seed")
    if not isinstance(value, dict | list):
        raise InvalidInput(
            f"the seed is {type(value).__name__}, not an object or a list",
            hint='For example \'{"text": "hello"}\'.',
        )
    return value


class SqlQuery(NamedTuple):
    """A query, and the database that `--db` names: a URL, or `env:NAME`."""

    query: str
    database: str


def sql_query(sql: str | None, db: str | None, seed: str | None) -> SqlQuery | None:
    """The query of `--sql QUERY|@FILE` and `--db`; None without them. Raises UsageError, and as a file is read."""
    if sql is None and db is None:
        return None
    if sql is None or db is None:
        raise click.UsageError("--sql and --db go together: the query, and the database that it is for")
    if seed is not None:
        raise click.UsageError("--sql and --seed exclude each other")
    return SqlQuery(read_text(Path(sql[1:])) if sql.startswith("@") else sql, db)


def _rows_of(query: SqlQuery) -> Any:
    """The rows of a query, as a list of rows is a seed."""
    from po_jupyter.platform.sql_query import database_url, read_query

    return read_query(query.query, database_url(query.database), timeout=_QUERY_TIMEOUT)


def seed_envelope(text: str) -> Seed:
    """The envelope `{name, data, pipeline?}` in a file, in JSON text, or from stdin (`-`)."""
    if text.lstrip().startswith("{"):
        return read_seed(parse_json(text, "the seed"))
    if text == "-":
        return read_seed(parse_json(read_stdin(), "what came from stdin"))
    path = Path(text.removeprefix("@"))
    return read_seed(parse_json(read_text(path), str(path)))


def read_text(path: Path, newline: str | None = None) -> str:
    """A file's text; with `newline=""` its line ends stay as they are. Raises NotFound or InvalidInput that name it."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"{path} has {path.stat().st_size:,} bytes; {MAX_BYTES:,} are the limit")
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            return file.read()
    except FileNotFoundError:
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*")], n=1)
        guess = f"; did you mean `{path.with_name(near[0])}`?" if near else ""
        raise NotFound(f"there is no file {path}{guess}") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text: byte {error.start}", hint="Save it as UTF-8.") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None


def _rows_or_json(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        raise InvalidInput(
            f"{path} is no text: `--seed @FILE` reads CSV, TSV, JSON and JSON lines",
            hint="Save it as CSV, or hand it over in Python: po.map(pandas.read_parquet(...), ...).",
        )
    if suffix in DELIMITERS:
        return read_rows(read_text(path, newline=""), str(path), DELIMITERS[suffix])
    text = read_text(path)
    if suffix in (".jsonl", ".ndjson"):
        lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        return [parse_json(line, f"line {n} of {path}") for n, line in lines]
    return parse_json(text, str(path))
