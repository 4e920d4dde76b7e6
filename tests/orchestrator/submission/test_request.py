"""Submissions: who may have what run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.distributed.brokers.messages import to_json
from po_jupyter.distributed.brokers.protocol import RunMessage
from po_jupyter.errors import Forbidden, InvalidInput
from po_jupyter.model.run.definition import MAX_LABELS
from po_jupyter.orchestrator.submission.request import check_submission, read_submission

pytestmark = pytest.mark.integration


def modules(*tasks: Any) -> dict[str, Any]:
    return {"pipeline": {"name": "p", "tasks": list(tasks)}, "seed": {"name": "s", "data": {}}}


def test_the_validators_of_a_class_are_code() -> None:
    """A3: what comes along as `output_type` needs `code:run`, as `source` does."""
    task = {"name": "a", "prompt": "x", "output": {"type": "integer"}, "output_type": "Answer = int"}
    submission = read_submission(modules(task), code_allowed=False)
    with pytest.raises(Forbidden, match="output_type") as caught:
        check_submission(submission, lambda name: pytest.fail(name), code_allowed=False)
    assert "model_json_schema" in caught.value.hint
    check_submission(submission, lambda name: pytest.fail(name), code_allowed=True)


def test_without_code_nobody_chooses_a_directory(tmp_path: Path) -> None:
    """DESIGN, Doors: `code:run`; a directory of one's own is code of one's own, whatever the tasks are."""
    (tmp_path / "mine.py").write_text("def ingestion(ctx): ...\n")
    for task in ("mine", {"name": "a", "prompt": "x"}):
        asked = {**modules(task), "cwd": str(tmp_path)}
        with pytest.raises(Forbidden, match="cwd"):
            read_submission(asked, code_allowed=False)
        submission = read_submission(asked, code_allowed=True)
        check_submission(submission, lambda name: pytest.fail(name), code_allowed=True)
    with pytest.raises(Forbidden, match="cwd"):
        check_submission(
            read_submission({**modules("mine"), "cwd": str(tmp_path)}, code_allowed=True),
            lambda name: pytest.fail(name),
            code_allowed=False,
        )


def test_a_run_has_no_more_labels_than_a_message_of_it() -> None:
    labels = [f"l{number}" for number in range(MAX_LABELS)]
    submission = read_submission({**modules("mine"), "options": {"labels": labels}}, code_allowed=True)
    message = RunMessage("1", 0, submission.options.labels)
    assert to_json(message)["labels"] == labels
    with pytest.raises(InvalidInput, match=rf"labels.*{MAX_LABELS}"):
        read_submission({**modules("mine"), "options": {"labels": [*labels, "more"]}}, code_allowed=True)
