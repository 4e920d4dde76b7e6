"""Pipelines and seeds of a command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import FakeRun, fake_run, make_view


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.json", '[{"a": "1"}, {"a": "2"}]'),
        ("rows.jsonl", '{"a": "1"}\n\n{"a": "2"}\n'),
        ("rows.csv", "a\n1\n2\n"),
    ],
)
def test_rows_come_from_files(name: str, text: str, po: Any, client: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text("\ufeff" + text, "utf-8")
    client.runs_there = [fake_run(make_view())]
    assert po("run", "tickets", "--seed", f"@{tmp_path / name}")[0] == 0
    assert client.submitted[0][1] == [{"a": "1"}, {"a": "2"}]


BAD_INPUT: dict[str, tuple[list[str], str, int]] = {
    "a seed that is not JSON": (["run", "tickets", "--seed", "{text: 1}"], "the seed is not JSON", 2),
    "a name twice in a seed": (
        ["run", "tickets", "--seed", '{"a": 1, "a": 2}'],
        "`a` stands twice in one object",
        2,
    ),
    "a seed that is a number": (["run", "tickets", "--seed", "3"], "not an object or a list", 2),
    "a seed file that is not there": (
        ["run", "tickets", "--seed", "@gone.json"],
        "there is no file gone.json",
        1,
    ),
    "a seed file of bytes": (
        ["run", "tickets", "--seed", "@bytes.json"],
        "bytes.json is not UTF-8 text: byte 0",
        2,
    ),
    "a line of a seed file": (
        ["run", "tickets", "--seed", "@rows.jsonl"],
        "line 2 of rows.jsonl is not JSON",
        2,
    ),
    "a table that is no text": (["run", "tickets", "--seed", "@rows.parquet"], "rows.parquet is no text", 2),
    "a folder as a seed": (["run", "tickets", "--seed", "@folder"], "folder cannot be read", 2),
    "a pipeline file that is not there": (["run", "ticket.yaml"], "did you mean `tickets.yaml`?", 1),
    "a name that nobody knows": (["run", "tickest"], "called 'tickest'; did you mean `tickets`?", 1),
    "a pipeline with a typo": (["run", "bad.yaml"], "line 3: `prmpt` is not a field of a task", 2),
    "a Python task without its module": (["validate", "tickets.yaml"], "line 2: no module 'a' is found", 2),
    "the same, only checked": (["validate", "bad.yaml"], "line 3: `prmpt` is not a field of a task", 2),
    "a model without a provider": (["run", "tickets", "--model", "gpt"], "provider:model", 2),
    "a seed without a name": (["submit", '{"data": {}}'], "a seed needs `name`", 2),
    "a seed without a pipeline": (["submit", '{"name": "a", "data": {}}'], "the seed names no `pipeline`", 2),
    "a seed file that holds a list": (["submit", "rows.json"], "a seed is an object with `name` and `data`", 2),
    "a run that is not there": (["show", "ffffff"], "there is no run 'ffffff'", 1),
    "a task that is not there": (["show", "7f3a", "--output", "labl"], "did you mean `label`?", 2),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_each_bad_input_is_answered_with_one_message(
    case: str, po: Any, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1.4, P11: what, where and what to do; nothing is submitted."""
    client.runs_there = [FakeRun([make_view()])]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": \n')
    (tmp_path / "rows.json").write_text("[1]")
    (tmp_path / "folder").mkdir()
    (tmp_path / "tickets.yaml").write_text("name: tickets\ntasks: [a]\n")
    (tmp_path / "bad.yaml").write_text("name: a\ntasks:\n  - {name: b, prmpt: hi}\n")
    args, says, expected = BAD_INPUT[case]
    code, out, err = po(*args)
    assert (code, out) == (expected, "")
    assert says in err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert client.submitted == []
    code, out, err = po(*args, "--json")
    assert (code, out) == (expected, "")
    assert says in json.loads(err)["error"]["message"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", b'\xef\xbb\xbftext,n\r\n"a\r\nb",1\r\n'),
        ("t.CSV", b'text,n\n"a\r\nb",1'),
        ("t.tsv", b'text\tn\n"a\r\nb"\t1\n'),
        ("t.TSV", b'\xef\xbb\xbftext\tn\r"a\r\nb"\t1\r'),
    ],
)
@pytest.mark.parametrize("verb", [["run"], ["estimate"]])
def test_every_command_that_takes_a_seed_reads_the_same(
    verb: list[str],
    name: str,
    data: bytes,
    po: Any,
    client: Any,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mark at the beginning, line ends of any system, capitals in the name."""
    from po_jupyter.cli.inputs import seed_data

    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(data)
    assert seed_data(f"@{name}") == [{"text": "a\r\nb", "n": "1"}]
    (tmp_path / "bad.csv").write_text('a,b\n1,"2\n')
    code, out, err = po(*verb, "tickets", "--seed", "@bad.csv")
    assert (code, out) == (2, "")
    assert err.startswith("error: line 2 of bad.csv has a quote that is never closed")
    assert client.submitted == []
