"""The view of a run."""

from po_jupyter.model.run.view import ENDED, RunView


def test_a_view_from_a_newer_server_is_read() -> None:
    """Fields that this version does not know are passed over."""
    view = RunView.model_validate(
        {"id": "1", "name": "n", "pipeline": "p", "version": "1.0.0", "state": "running", "created_at": "x",
         "updated_at": "y", "seed": {}, "tasks": [{"name": "a", "later": 1}], "later": 2}
    )  # fmt: skip
    assert view.tasks[0].state == "pending"
    assert view.state not in ENDED
