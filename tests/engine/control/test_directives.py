"""Directives are read strictly: what, where, and every violation at once (B11), without a run."""

from __future__ import annotations

import pytest

from po_jupyter.engine.control.directives import MAX_FILE, parse_directives, read_directives
from po_jupyter.errors import ControlInvalid
from po_jupyter.model.pipeline.pipeline import Task


def test_tasks_are_definitions_names_or_values() -> None:
    """G17: plain Python values are as good as mappings."""
    said = read_directives({"patch": {"add": ["a", {"name": "b"}, Task(name="c", prompt="hi")]}})
    assert said.patch is not None
    assert [d["name"] for d in said.patch.add] == ["a", "b", "c"]


UNREADABLE = [
    ("", "not JSON: Expecting value"),
    ("{", "line 1: not JSON"),
    ("null", "not null"),
    ("[]", "not a list"),
    ('"skip"', "not text"),
    ("7", "not a number"),
    ('{"skip": [], "skip": []}', "`skip` stands there twice"),
    ('{"pause": {"message": NaN}}', "NaN is not a number"),
    ("[" * 100_000, "not JSON"),
    ('{"patsh": {}}', "`patsh` is not a field of a control file; did you mean `patch`?"),
    ('{"patch": {}}', "`patch` needs `add`"),
    ('{"patch": {"add": []}}', "patch.add"),
    ('{"patch": {"add": {}}}', "patch.add"),
    ('{"patch": {"add": [5]}}', "a task is a name, or an object as in a pipeline"),
    (
        '{"patch": {"add": ["x"], "insertafter": "b"}}',
        "`insertafter` is not a field of `patch`; did you mean `insertAfter`?",
    ),
    ('{"patch": {"add": ["x"], "insertAfter": 3}}', "patch.insertAfter"),
    ('{"skip": {"task": "c"}}', "skip"),
    ('{"skip": [{"task": "c"}]}', "a skip needs `reason`"),
    ('{"skip": [{"task": "c", "reason": ""}]}', "skip[0].reason"),
    ('{"skip": [{"task": "c", "reason": 1}]}', "skip[0].reason"),
    ('{"skip": ["c"]}', "skip[0]"),
    ('{"skip": [{"task": "c", "reson": "r", "reason": "r"}]}', "did you mean `reason`?"),
    ('{"pause": "please"}', "pause"),
    ('{"pause": {"mesage": "m"}}', "did you mean `message`?"),
    ('{"pause": {"message": ""}}', "pause.message"),
    ('{"pause": {"message": "m", "artifacts": "outline.json"}}', "pause.artifacts"),
    ('{"pause": {"message": "m", "artifacts": ["../../etc/passwd"]}}', "cannot be the name of a file"),
    ('{"pause": {"message": "m", "artifacts": ["/etc/passwd"]}}', "cannot be the name of a file"),
]


@pytest.mark.parametrize(("text", "says"), UNREADABLE)
def test_a_malformed_control_file_is_one_clear_error(text: str, says: str) -> None:
    """P11, B11, issue 2 "Done when" 6."""
    with pytest.raises(ControlInvalid) as caught:
        parse_directives(text.encode())
    assert says in caught.value.message
    assert caught.value.message.startswith("control.json")
    assert caught.value.hint


def test_files_that_are_no_text_or_too_large() -> None:
    """P11: bytes that are not UTF-8, and a file no task needs."""
    with pytest.raises(ControlInvalid, match=r"not UTF-8 text \(byte 2\)"):
        parse_directives(b"{\xff}")
    with pytest.raises(ControlInvalid, match="bytes"):
        parse_directives(b" " * (MAX_FILE + 1))
