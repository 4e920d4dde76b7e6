"""R1.1, P11, "Done when" 6: malformed seed files, each with its one clear message, and nothing changed."""

# ruff: noqa: E501 - one case is one line of the table

from __future__ import annotations

import hashlib
import io
import os
import sys
from pathlib import Path

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidSeed, NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.orchestrator.inbox.seed_file import digest, opened, parse, read_json, seed_violations
from tests.support.inbox import GOOD, GREET, Desk, seed

DEEP = b'{"name": "deep", "pipeline": "greet", "data": ' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}"

JSON: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["the file is empty"]),
    "only spaces": (b" \n\t ", ["the file is empty"]),
    "no json": (b"hello", ["line 1: the file is not JSON: Expecting value"]),
    "cut off": (b'{"name": "first",\n "data": {"who"', ["line 2: the file is not JSON"]),
    "a trailing comma": (b'{"name": "a", "data": {},}', ["line 1: the file is not JSON"]),
    "two documents": (seed() + seed(), ["the file is not JSON: Extra data"]),
    "comments": (b'// a seed\n{"name": "a"}', ["line 1: the file is not JSON"]),
    "NaN": (b'{"name": "a", "pipeline": "greet", "data": {"x": NaN}}', ["NaN is not JSON; use null"]),
    "infinity": (b'{"name": "a", "pipeline": "greet", "data": {"x": -Infinity}}', ["-Infinity is not JSON"]),
    "a number too large": (b'{"name": "a", "pipeline": "greet", "data": {"who": 1e999}}', ["`who` is inf, which JSON does not know"]),
    "an endless whole number": (b'{"name": "a", "data": {"x": ' + b"9" * 4500 + b"}}", ["a number has too many digits"]),
    "utf-16": ('{"name": "a"}'.encode("utf-16"), ["UTF-16 text"]),
    "latin-1": ('{"name": "é"}'.encode("latin-1"), ["not UTF-8 text: byte 10"]),
    "half a surrogate": (b'{"name": "a", "pipeline": "greet", "data": {"who": "\\ud800"}}', ["`who` holds half a surrogate pair"]),
    "a name twice": (b'{"name": "a", "name": "b", "pipeline": "greet", "data": {}}', ["`name` stands twice in one object"]),
    "nested too deeply": (DEEP, ["nested deeper than 200 levels"]),
    "too large": (seed(data={"who": "x" * 6000}), ["larger than 5,000 bytes"]),
    "a list": (b"[1, 2]", ["a seed is an object with `name` and `data`, not list"]),
    "text": (b'"seed"', ["a seed is an object with `name` and `data`, not str"]),
    "null": (b"null", ["a seed is an object with `name` and `data`, not NoneType"]),
    "an empty object": (b"{}", ["a seed needs `name`", "a seed needs `data`", "a seed file needs `pipeline`"]),
    "no name": (seed(name=...), ["a seed needs `name`"]),
    "an empty name": (seed(name=""), ["name: may not be empty"]),
    "a long name": (seed(name="x" * 101), ["name: may have at most 100 characters"]),
    "a number as name": (seed(name=7), ["name: needs text"]),
    "a list as name": (seed(name=["a"]), ["name: needs text"]),
    "no data": (seed(data=...), ["a seed needs `data`"]),
    "data is text": (seed(data="text"), ["data: needs a mapping"]),
    "data is a list": (seed(data=[{"who": "a"}]), ["data: needs a mapping"]),
    "data is null": (seed(data=None), ["data: needs a mapping"]),
    "metadata is a list": (seed(metadata=[1]), ["metadata: needs a mapping"]),
    "a field too many": (seed(priority=3), ["`priority` is not a field of a seed"]),
    "a mistyped field": (seed(data=..., dta={}), ["a seed needs `data`", "`dta` is not a field of a seed; did you mean `data`?"]),
    "no pipeline": (seed(pipeline=...), ["a seed file needs `pipeline`"]),
    "pipeline is null": (seed(pipeline=None), ["a seed file needs `pipeline`"]),
    "pipeline is a definition": (seed(pipeline=GREET), ["pipeline: needs text"]),
    "an unknown pipeline": (seed(pipeline="gret"), ["there is no pipeline 'gret'; did you mean `greet`?", "Registered: greet"]),
    "a pipeline like a path": (seed(pipeline="../../etc/passwd"), ["there is no pipeline '../../etc/passwd'"]),
    "a pipeline in yaml": (seed(pipeline="name: x\ntasks: []"), ["there is no pipeline"]),
    "data that the prompt lacks": (seed(data={"name": "you"}), ["who"]),
    "everything at once": (
        seed(name="", data=[], pipeline="nope", metadata=1, extra=2),
        ["name: may not be empty", "data: needs a mapping", "metadata: needs a mapping", "`extra` is not a field", "there is no pipeline 'nope'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", JSON)
def test_a_malformed_seed_file_is_rejected_with_every_reason(case: str, desk: Desk) -> None:
    """R1.1, B9, P11."""
    data, said = JSON[case]
    desk.drop("x-seed.json", data)
    error = desk.rejected("x-seed.json")
    assert error["code"] in ("invalid_seed", "invalid_pipeline", "invalid_input")
    for words in said:
        assert words in f"{error['message']}\n{error['hint']}", f"{words!r} is missing"
    assert "Traceback" not in error["message"]


def test_what_is_well_formed_is_read_as_it_stands() -> None:
    """A byte order mark, as editors on Windows write it, is no mistake."""
    assert parse(b"\xef\xbb\xbf" + seed()) == GOOD
    nested = b'{"data": ' + b'{"a":' * 198 + b"1" + b"}" * 198 + b"}"
    assert parse(nested), "200 levels are not too deep"
    assert parse(b'{"a": "' + b"[" * 300 + b'"}') == {"a": "[" * 300}, "text is no nesting"


def test_exactly_the_largest_size_is_read() -> None:
    settings = Settings(inbox_max_bytes=1024)
    assert read_json(io.BytesIO(b'"' + b"x" * 1022 + b'"'), settings) == "x" * 1022
    with pytest.raises(InvalidSeed, match="larger than 1,024 bytes"):
        read_json(io.BytesIO(b'"' + b"x" * 1023 + b'"'), settings)


@pytest.mark.skipif(sys.platform == "win32", reason="platform: links need rights there")
def test_a_link_is_not_followed_and_a_pipe_not_waited_for(tmp_path: Path) -> None:
    """P6: a file of the machine, or a reader that hangs."""
    plain = tmp_path / "plain"
    plain.write_bytes(b"x" * 3_000_000)
    (tmp_path / "link").symlink_to(plain)
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("link", "links are not followed"), ("pipe", "not a regular file")):
        with pytest.raises(InvalidSeed, match=says), opened(tmp_path / name):
            pass
    with opened(plain) as file:
        assert digest(file) == hashlib.sha256(plain.read_bytes()).hexdigest() == digest(file)


def test_violations_of_envelope_and_pipeline_are_told_together() -> None:
    """R1.1."""

    def registered(name: str) -> Pipeline:
        if name != "greet":
            raise NotFound(f"there is no pipeline {name!r}", hint="Registered: greet")
        return validate_pipeline(GREET)

    assert seed_violations(GOOD, registered) == []
    found = seed_violations({**GOOD, "name": "", "pipeline": "gret"}, registered)
    assert [v.where for v in found] == ["name", "pipeline"]
    assert found[1].message == "there is no pipeline 'gret'. Registered: greet"
