"""Recordings: the answers of vendors to the requests of each case, one JSON object a line, beside the file of cases.

    {"case", "request", "provider", "path", "status", "type", "body", "seal"}

`request` is the digest of what was asked, `seal` that of the line: a line that was changed by hand is no answer that a
model gave, and says so. No header is kept, so no key is; one in an answer's text is starred.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.review import canonical_json
from po_jupyter.model.values.digests import short_digest
from po_jupyter.platform.private_file import write_private
from po_jupyter.telemetry.redaction import Redactor

_FIELDS = ("case", "request", "provider", "path", "status", "type", "body", "seal")
# Of a request these say how the answer comes, and not what it is.
_OF_TRANSPORT = ("stream", "stream_options")


class RecordedAnswer(TypedDict):
    """One answer of a vendor. `body` is JSON where it was JSON, else text."""

    case: str
    request: str
    provider: str
    path: str
    status: int
    type: str
    body: Any
    seal: str


def request_digest(provider: str, method: str, path: str, body: bytes) -> str:
    """The same for requests that ask the same."""
    try:
        value = json.loads(body) if body else None
    except ValueError:
        return short_digest(f"{method} {provider} {path}\n".encode() + body)
    if isinstance(value, dict):
        value = {name: part for name, part in value.items() if name not in _OF_TRANSPORT}
    return short_digest(f"{method} {provider} {path}\n{canonical_json(value)}")


def sealed(answer: Mapping[str, Any], redactor: Redactor) -> RecordedAnswer:
    """An answer as it is written: without secrets, and with its seal."""
    clean: Any = redactor.scrub(dict(answer))
    clean["seal"] = _seal(clean)
    return cast("RecordedAnswer", clean)


def _seal(answer: Mapping[str, Any]) -> str:
    return short_digest(canonical_json({name: value for name, value in answer.items() if name != "seal"}))


def recording_of(cases: Path) -> Path:
    """The file beside a file of cases that has its recorded answers."""
    return cases.with_name(f"{cases.name.removesuffix(cases.suffix)}.recorded.jsonl")


def read_recordings(cases: Path) -> list[RecordedAnswer]:
    """The recorded answers of a file of cases, [] where there are none. Raises InvalidInput that names the line."""
    file = recording_of(cases)
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the recorded answers {file} cannot be read: {error}") from None
    return list(_answers(cases, text))


def _answers(cases: Path, text: str) -> Iterator[RecordedAnswer]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            raise _changed(cases, number, "is not JSON") from None
        if not isinstance(answer, dict) or set(answer) != set(_FIELDS):
            raise _changed(cases, number, "is no recorded answer")
        if answer["seal"] != _seal(answer):
            raise _changed(cases, number, "was changed by hand: it is not what the model answered")
        yield cast("RecordedAnswer", answer)


def _changed(cases: Path, number: int, problem: str) -> InvalidInput:
    return InvalidInput(
        f"line {number} of the recorded answers {recording_of(cases)} {problem}",
        hint=f"Record them again: po test {cases} --live",
    )


def write_recordings(cases: Path, answers: Iterable[RecordedAnswer]) -> None:
    """Replace the recorded answers of a file of cases as a whole. Raises InvalidInput."""
    file = recording_of(cases)
    lines = [json.dumps(answer) for answer in answers]
    try:
        write_private(file, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise InvalidInput(f"the answers cannot be recorded in {file}: {error.strerror or error}") from None
