"""Seed files: the JSON of a seed that was dropped into the watch folder, read with suspicion.

Everything that is wrong is told at once (R1.1), and nothing is changed by reading.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidSeed, NotFound, Violation
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.seed import read_seed
from po_jupyter.model.values.json import exact_number, unique_names

_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_CHUNK = 2**20
_DEEPEST = 200  # levels; how deep a parser itself can go depends on the version of Python


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The regular file at `path`; a link is not followed and a pipe not waited for. InvalidSeed, OSError."""
    if path.is_symlink():  # where there is no O_NOFOLLOW; elsewhere only for the message
        raise InvalidSeed("it is a link, and links are not followed", hint="Put the file itself there.")
    fd = os.open(path, _FLAGS | getattr(os, "O_BINARY", 0))
    with os.fdopen(fd, "rb") if stat.S_ISREG(os.fstat(fd).st_mode) else _refused(fd) as file:
        yield file


def _refused(fd: int) -> BinaryIO:
    os.close(fd)
    raise InvalidSeed("it is not a regular file")


def digest(file: BinaryIO) -> str:
    """The SHA-256 of the content, as hex."""
    file.seek(0)
    sha256 = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        sha256.update(chunk)
    return sha256.hexdigest()


def read_json(file: BinaryIO, settings: Settings, what: str = "the file") -> Any:
    """The decoded content. Raises InvalidSeed that names line and column."""
    text = file.read(settings.inbox_max_bytes + 1)
    if len(text) > settings.inbox_max_bytes:
        raise InvalidSeed(
            f"{what} is larger than {settings.inbox_max_bytes:,} bytes",
            hint="The limit is the setting inbox_max_bytes. Large data go into an archive, as artifacts.",
        )
    return parse(text, what)


def parse(data: bytes, what: str = "the file") -> Any:
    """JSON as it is defined: UTF-8, no NaN, no name twice in one object. Raises InvalidSeed."""
    if not data.strip():
        raise InvalidSeed(f"{what} is empty", hint='A seed is {"name": ..., "pipeline": ..., "data": {...}}.')
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InvalidSeed(f"{what} is UTF-16 text", hint="Save it as UTF-8.")
    deep = InvalidSeed(f"{what} is nested deeper than {_DEEPEST} levels")
    try:
        value = json.loads(
            data.decode("utf-8-sig"),
            parse_constant=_refuse_constant,
            object_pairs_hook=unique_names,
            parse_float=exact_number,
        )
    except UnicodeDecodeError as error:
        raise InvalidSeed(f"{what} is not UTF-8 text: byte {error.start}", hint="Save it as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise InvalidSeed(
            violations=[Violation("", f"{what} is not JSON: {error.msg}", error.lineno, error.colno)]
        ) from None
    except RecursionError:
        raise deep from None
    except ValueError as error:
        # The one that is not ours is about a whole number of more digits than Python reads.
        reason = "a number has too many digits" if "int_max_str_digits" in str(error) else str(error)
        raise InvalidSeed(f"{what} cannot be read: {reason[:200]}") from None
    if data.count(b"[") + data.count(b"{") > _DEEPEST and _depth(value) > _DEEPEST:
        raise deep
    return value


def _depth(value: Any) -> int:
    deepest, todo = 0, [(value, 0)]
    while todo:
        value, depth = todo.pop()
        if isinstance(value, dict | list):
            deepest = max(deepest, depth + 1)
            todo.extend((v, depth + 1) for v in (value.values() if isinstance(value, dict) else value))
    return deepest


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON; use null")


def seed_violations(value: Any, registered: Callable[[str], Pipeline]) -> list[Violation]:
    """The violations of a decoded seed file: of its envelope, and of the pipeline that it must name.

    `registered` raises NotFound for an unknown name, and InvalidInput for one that cannot run.
    """
    violations: list[Violation] = []
    try:
        read_seed(value)
    except InvalidSeed as error:
        violations += error.violations or [Violation("", error.message)]
    if isinstance(value, dict):
        pipeline = value.get("pipeline")
        if pipeline is None:
            violations.append(
                Violation("pipeline", "a seed file needs `pipeline`: the name of a registered one")
            )
        elif isinstance(pipeline, str):
            try:
                registered(pipeline)
            except NotFound as error:
                violations.append(Violation("pipeline", f"{error.message}. {error.hint}".strip()))
    return violations
