from __future__ import annotations

import json

from po_jupyter.model.run.definition import FORMAT, RunDefinition, RunOptions


def test_a_definition_comes_back_as_it_was_kept() -> None:
    options = RunOptions(limit=3, labels=("gpu", "big"))
    definition = RunDefinition(
        {"name": "p"}, {"name": "s"}, interpreter="/py", options=options, code_allowed=True
    )
    kept = json.loads(json.dumps(definition.to_json()))
    assert kept["options"] == {"limit": 3, "labels": ["gpu", "big"]}
    assert RunDefinition.from_json(kept) == definition


def test_older_definitions_are_read_and_newer_ones_recognised() -> None:
    old = RunDefinition.from_json({"pipeline": {}, "seed": {}, "options": None})
    assert (old.format, old.options) == (1, RunOptions())
    assert RunDefinition.from_json({"pipeline": {}, "seed": {}, "format": 7}).format == 7
    assert RunOptions.from_json({"of_a_later_version": 1}) == RunOptions()


def test_a_child_run_is_left_alone_by_servers_that_know_of_none() -> None:
    whole = RunDefinition({}, {})
    assert "format" not in whole.to_json()
    part = RunDefinition(
        {}, {}, parent={"run": "r", "task": "m", "shard": 1, "rows": "0-4", "attempt": 1, "number": 1}
    )
    kept = RunDefinition.from_json(json.loads(json.dumps(part.to_json())))
    assert (kept.format, kept.parent) == (FORMAT, part.parent)
